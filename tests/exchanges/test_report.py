"""What a host tells of a stream: the lag, from the newest trades of its symbols."""

from __future__ import annotations

import time

import pytest
import redis

from exchanges.report import lag_ms
from livermore.core import keys
from livermore.core.errors import StoreUnavailable


def traded(client: redis.Redis, symbol: str, took_ms: int, *, ago_ms: int = 0) -> None:
    received_ms = time.time_ns() // 1_000_000 - ago_ms
    ticker = {"price": "1", "time_ms": received_ms - took_ms, "received_ms": received_ms}
    client.hset(keys.ticker("alpha", symbol), mapping=ticker)


def test_the_lag_is_the_median_of_what_traded_lately(redis_state: redis.Redis) -> None:
    for symbol, took_ms in (("A-B", 30), ("C-B", 50), ("D-B", 9_000)):
        traded(redis_state, symbol, took_ms)
    traded(redis_state, "E-B", 5, ago_ms=60_000)
    assert lag_ms("alpha", ["A-B", "C-B", "D-B", "E-B", "NO-NE"]) == 50
    assert lag_ms("alpha", ["A-B", "C-B"]) == 40


def test_without_a_trade_lately_no_lag_is_known(redis_state: redis.Redis) -> None:
    traded(redis_state, "A-B", 30, ago_ms=11_000)
    redis_state.hset(keys.ticker("alpha", "C-B"), "price", "1")
    assert lag_ms("alpha", ["A-B", "C-B"]) is None
    assert lag_ms("alpha", []) is None


def test_fifty_symbols_are_enough(redis_state: redis.Redis) -> None:
    for n in range(51):
        traded(redis_state, f"S{n}-B", 10 if n < 50 else 1_000_000)
    asked = [f"S{n}-B" for n in range(51)]
    assert lag_ms("alpha", asked) == 10
    assert lag_ms("alpha", asked[50:]) == 1_000_000


def test_an_absent_redis_is_told(settings: object) -> None:
    settings.STATE_REDIS_URL = "redis://127.0.0.1:1/0"  # type: ignore[attr-defined]
    with pytest.raises(StoreUnavailable):
        lag_ms("alpha", ["A-B"])


def test_a_clock_that_is_ahead_is_no_lag(redis_state: redis.Redis) -> None:
    traded(redis_state, "A-B", 30 - 3_000)
    assert lag_ms("alpha", ["A-B"]) == -2_970
    assert lag_ms("alpha", ["A-B"], offset_ms=2_999.8) == 29.8
