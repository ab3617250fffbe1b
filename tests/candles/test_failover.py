"""A state Redis that began anew or lost everything makes gaps of what was under way."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import pytest
import redis

from candles import tasks, window
from candles.services import failover
from candles.services.record import Closed, record
from livermore.core import keys
from livermore.core.candle import Candle, Source, Timeframe
from livermore.core.gap import Cause
from symbols.models import ExchangeSymbol
from tests.candles.streaming import now_ms, past, streamed
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.django_db


def candle(open_ms: int, source: Source = Source.TRADES) -> Candle:
    return Candle("binance", "BTC-USDT", Timeframe.M5, open_ms, *[Decimal(1)] * 5, source=source)


@pytest.fixture
def traded(redis_state):
    """Binance streams and has a candle of a moment ago."""
    ExchangeSymbol(exchange_id="binance", native="BTCUSDT", base="BTC", quote="USDT", tier=1).save()
    streamed(redis_state, "binance", since_ms=past(5))
    record([Closed(candle(past(1)), 1)])


def test_a_fresh_installation_has_lost_nothing(redis_state):
    assert failover.watch(now_ms()) == []


def test_while_the_server_stays_nothing_is_lost(traded):
    failover.seen(now_ms())
    assert failover.watch(now_ms()) == []


def test_candles_taken_from_the_venue_are_signs_of_life_too_history_is_none(traded, redis_state):
    ExchangeSymbol(exchange_id="kucoin", native="BTC-USDT", base="BTC", quote="USDT", tier=1).save()
    ExchangeSymbol(exchange_id="mexc", native="BTCUSDT", base="BTC", quote="USDT", tier=1).save()
    record([Closed(replace(candle(past(1), Source.ADOPTED), exchange="kucoin"), 1)])
    record([Closed(replace(candle(past(1), Source.REST), exchange="mexc"), 1)])
    redis_state.flushall()
    assert [gap.exchange for gap in failover.watch(now_ms())] == ["binance", "kucoin"]


def test_an_empty_redis_has_lost_the_open_buckets(traded, redis_state):
    failover.seen(now_ms())
    redis_state.flushall()
    at_ms = now_ms()
    (gap,) = failover.watch(at_ms)
    assert (gap.exchange, gap.cause, gap.to_ns) == ("binance", Cause.FAILOVER, at_ms * 1_000_000)
    assert gap.from_ns == (at_ms - failover.LOST_MS) * 1_000_000
    assert failover.watch(at_ms + 5)[0].to_ns == (at_ms + 5) * 1_000_000  # until it has been told
    failover.seen(at_ms)
    assert failover.watch(at_ms + 10) == []


def test_windows_that_are_gone_are_rebuilt_and_their_indicators_too(traded, redis_state, redis_server):
    failover.seen(now_ms())
    assert failover.lacking() == []
    redis_state.flushall()
    streamed(redis_state, "binance", since_ms=past(5))  # the host says it again
    tasks.watch_store()
    with redis.Redis.from_url(redis_server.broker_url) as broker:
        asked = [json.loads(message)["headers"] for message in broker.lrange("default", 0, -1)]
    assert [(h["task"], h["argsrepr"]) for h in asked if "rebuild" in h["task"]] == [
        ("candles.rebuild_window", "('binance',)")
    ]
    assert failover.lacking() == []  # a minute later again
    tasks.rebuild_window("binance")
    assert [c.open_ms for c in window.newest("binance", "BTC-USDT", Timeframe.M5, 9)] == [past(1)]
    with redis.Redis.from_url(redis_server.broker_url) as broker:
        (message,) = broker.lrange("candles", 0, 0)
    assert json.loads(message)["headers"]["task"] == "candles.indicators"


def test_a_restarted_server_may_have_lost_its_last_moments(tmp_path, settings):
    ExchangeSymbol(exchange_id="binance", native="BTCUSDT", base="BTC", quote="USDT", tier=1).save()
    server = RedisServer.start(tmp_path)
    settings.STATE_REDIS_URL = server.state_url
    try:
        with redis.Redis.from_url(server.state_url) as client:
            streamed(client, "binance", since_ms=past(5))
        record([Closed(candle(past(1)), 1)])
        seen_ms = now_ms()
        failover.seen(seen_ms)
        server.stop()
        server = RedisServer.start(tmp_path)
        settings.STATE_REDIS_URL = server.state_url
        (gap,) = failover.watch(now_ms())
        assert gap.from_ns == (seen_ms - failover.MARGIN_MS) * 1_000_000
        failover.seen(now_ms())
        assert failover.watch(now_ms()) == []
    finally:
        server.stop()


def test_an_idle_exchange_had_nothing_under_way(redis_state):
    redis_state.set(keys.generation(), f"another-server|{now_ms()}")
    assert failover.watch(now_ms()) == []
