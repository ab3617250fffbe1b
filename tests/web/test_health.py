"""Readiness names the stage that does not move."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.test import Client

from candles.services import canary
from exchanges import observed
from livermore.core import keys
from livermore.web import health
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
        for station in canary.STATIONS:
            pass_by(redis_state, slug, station)
    canary.swept()
    return redis_state


def pass_by(redis_state: Any, slug: str, station: str, ago_s: float = 1.0) -> None:
    """A canary passed a station so long ago."""
    at_ms = now_ms() - int(ago_s * 1000)
    redis_state.hset(keys.canary(slug), station, f"{at_ms - 5}|{at_ms}")


def test_live_needs_nothing(client: Client) -> None:
    assert client.get("/health/live").json() == {"live": True}


def test_nothing_started_is_ready_by_design(client: Client, db: None, redis_state: Any) -> None:
    status, said = _ready(client)
    assert (status, said["ready"]) == (200, True)
    assert {s["name"] for s in said["stages"]} == {"database", "state_redis", "broker", "exchanges", "queues"}


def test_moving_data_is_ready(client: Client, moving: Any) -> None:
    status, said = _ready(client)
    assert (status, said["stuck"]) == (200, [])
    names = ["host", "frames", "outbox", "batches", "candles", "signals"]
    each = [f"{slug}.{name}" for slug in ("coinbase", "kucoin") for name in names]
    everywhere = ["database", "state_redis", "broker", "beat", "queues"]
    assert sorted(s["name"] for s in said["stages"]) == sorted([*everywhere, *each])


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
    assert _ready(client)[1]["stuck"] == ["kucoin.host"]


@pytest.mark.parametrize(("station", "name"), [("ticks", "batches"), ("candles", "candles"), ("signals", "signals")])
def test_a_worker_that_lets_no_canary_pass_is_named_and_not_those_behind_it(
    client: Client, moving: Any, station: str, name: str
) -> None:
    for behind in canary.STATIONS[canary.STATIONS.index(station) :]:
        pass_by(moving, "kucoin", behind, ago_s=23)
    status, said = _ready(client)
    assert (status, said["stuck"]) == (503, [f"kucoin.{name}"])


def test_batches_that_wait_for_the_broker_are_named(client: Client, moving: Any) -> None:
    market_data.set_stream(moving, "kucoin", spooled=4, spooled_from_ms=now_ms() - 29_000)
    assert _ready(client)[1]["stuck"] == ["kucoin.outbox"]


def test_a_reader_that_hears_nothing_is_named(client: Client, moving: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "heard_ms", lambda slug: now_ms() - (30_000 if slug == "kucoin" else 0))
    assert _ready(client)[1]["stuck"] == ["kucoin.reader"]


def test_a_beat_that_asks_for_nothing_is_named(client: Client, moving: Any) -> None:
    moving.hset(keys.canary(canary.BEAT), canary.SWEPT, now_ms() - 23_000)
    assert _ready(client)[1]["stuck"] == ["beat"]


def test_a_database_that_never_answers_is_named(client: Client, moving: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    thawed = threading.Event()
    monkeypatch.setattr(health, "ANSWER_WITHIN_S", 0.1)
    monkeypatch.setattr(health, "_select", lambda: thawed.wait(60))
    try:
        assert _ready(client)[1]["stuck"] == ["database"]
        assert _ready(client)[1]["stuck"] == ["database"]  # one question waits, not one for each probe
    finally:
        thawed.set()


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
