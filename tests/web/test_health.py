"""Readiness names the stage that does not move."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from exchanges import observed
from livermore.core import keys
from symbols.models import ExchangeSymbol
from tests.web import market_data
from tests.web.market_data import now_ms


def _ready(client: Client) -> tuple[int, dict[str, Any]]:
    answer = client.get("/health/ready")
    return answer.status_code, answer.json()


@pytest.fixture
def moving(redis_state: Any, markets: list[ExchangeSymbol]) -> Any:
    """Two exchanges whose data moves through every stage."""
    for slug, symbol in (("kucoin", "BTC-USDT"), ("coinbase", "BTC-USD")):
        market_data.set_stream(redis_state, slug, since_ms=now_ms() - 3_600_000)
        market_data.set_forming(redis_state, slug, symbol, "64000")
        market_data.fill_window(slug, symbol, 3)
    return redis_state


def test_live_needs_nothing(client: Client) -> None:
    assert client.get("/health/live").json() == {"live": True}


def test_nothing_started_is_ready_by_design(client: Client, db: None, redis_state: Any) -> None:
    status, said = _ready(client)
    assert (status, said["ready"]) == (200, True)
    assert {s["name"] for s in said["stages"]} == {"database", "state_redis", "broker", "exchanges"}


def test_moving_data_is_ready(client: Client, moving: Any) -> None:
    status, said = _ready(client)
    assert (status, said["stuck"]) == (200, [])
    assert len(said["stages"]) == 3 + 2 * 3


def test_frames_that_stopped_are_named(client: Client, moving: Any) -> None:
    market_data.set_stream(moving, "kucoin", last_frame_ms=now_ms() - 40_000)
    status, said = _ready(client)
    assert (status, said["stuck"]) == (503, ["kucoin.frames"])


def test_workers_that_stopped_are_named(client: Client, moving: Any) -> None:
    market_data.set_forming(moving, "coinbase", "BTC-USD", "64000", updated_ms=now_ms() - 40_000)
    assert _ready(client)[1]["stuck"] == ["coinbase.batches"]


def test_candles_that_no_longer_close_are_named(client: Client, moving: Any) -> None:
    moving.delete("candles:coinbase:BTC-USD:5m")
    assert _ready(client)[1]["stuck"] == ["coinbase.candles"]


def test_an_exchange_without_a_frame_is_not_ready_yet(client: Client, db: None, redis_state: Any) -> None:
    market_data.set_stream(redis_state, "kucoin", state="connecting", since_ms="", last_frame_ms="")
    assert _ready(client)[1]["stuck"] == ["kucoin.frames"]


def test_a_quiet_market_is_not_a_stuck_worker(client: Client, moving: Any) -> None:
    market_data.set_stream(moving, "kucoin", since_ms=now_ms() - 3_600_000, last_frame_ms=now_ms() - 25_000)
    market_data.set_forming(moving, "kucoin", "BTC-USDT", "64000", updated_ms=now_ms() - 50_000)
    assert _ready(client)[0] == 200


@pytest.mark.parametrize("has_successor", [True, False])
def test_a_host_that_vanished_without_leave_is_missed(
    client: Client, db: None, redis_state: Any, has_successor: bool
) -> None:
    redis_state.zadd(keys.hosts(), {"desk": now_ms() - 60_000})
    if has_successor:
        observed.register("desk2", "o")
        observed.beat("desk2", {"owner": "o", "state": "ready", "region": "", "reason": "", "exchanges": {}})
    assert _ready(client)[0] == (200 if has_successor else 503)


def test_an_exchange_that_just_started_has_time(client: Client, db: None, redis_state: Any) -> None:
    now = now_ms()
    market_data.set_stream(redis_state, "kucoin", since_ms=now - 10_000)
    assert _ready(client)[0] == 200


def test_a_host_that_died_is_named(client: Client, moving: Any) -> None:
    market_data.set_stream(moving, "kucoin", updated_ms=now_ms() - 40_000)
    assert _ready(client)[1]["stuck"] == ["kucoin.frames"]


@pytest.mark.parametrize("state", ["paused", "refused", "idle"])
def test_what_is_not_running_is_not_expected_to_move(client: Client, moving: Any, state: str) -> None:
    market_data.set_stream(moving, "kucoin", state=state, last_frame_ms=now_ms() - 600_000)
    assert _ready(client)[0] == 200


def test_an_absent_store_is_named_but_not_its_password(
    client: Client, db: None, redis_state: Any, settings: Any
) -> None:
    settings.STATE_REDIS_URL = "redis://:hush@127.0.0.1:1/1"
    status, said = _ready(client)
    assert (status, said["stuck"]) == (503, ["state_redis"])
    assert "hush" not in str(said)


def test_an_absent_broker_is_named(client: Client, db: None, redis_state: Any) -> None:
    from livermore.celery import app

    app.conf.broker_url = "redis://:hush@127.0.0.1:1/0"
    status, said = _ready(client)
    assert (status, said["stuck"]) == (503, ["broker"])
    assert "hush" not in str(said)
