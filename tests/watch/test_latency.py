"""Latency from sockets and Redis to the page: ages by two clocks, and who moves first as it reaches us."""

from __future__ import annotations

import time
from typing import Any

import pytest
import redis
from django.test import Client

from candles.preview import TRAIL_SECONDS
from candles.services import arrivals, ingest
from exchanges import wire
from exchanges.models import Exchange
from exchanges.simulation.stage import Options
from livermore.core import keys
from livermore.watch import latency, moves
from livermore.watch.latency import WINDOWS
from tests.support import builders
from tests.support.simulation import simulated
from tests.support.streaming import Streamed, streamed
from tests.support.waiting import until

pytestmark = pytest.mark.django_db
FAR, NEAR = "kucoin", "binance"
BASE = "BTC"
SYMBOL = f"{BASE}-USDT"
DELAY_S = 0.4
ENOUGH = 30
NOW_MS = time.time_ns() // 60_000_000_000 * 60_000


@pytest.fixture(autouse=True)
def empty(redis_state: redis.Redis) -> None:
    for memory in (ingest._books, ingest._previews, arrivals._newest, arrivals._epochs):
        memory.clear()


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def quote(state: redis.Redis, exchange: str, *, at_ms: int, age_ms: int, origin: str = "") -> None:
    """As a worker leaves it: received at `at_ms`."""
    state.hset(keys.quotes(BASE), f"{exchange}|{SYMBOL}", f"100|{at_ms - age_ms}|{at_ms}||{origin}")
    state.zadd(keys.touched(), {BASE: at_ms})


def report(client: Client, **query: str) -> dict[str, Any]:
    answer = client.get("/api/v1/latency", {"base": BASE, **query})
    assert answer.status_code == 200, answer.content
    return answer.json()


def of(told: dict[str, Any], exchange: str) -> dict[str, Any]:
    return next(its for its in told["markets"] if its["exchange"] == exchange)


# ---- ages ------------------------------------------------------------------------------------------


def test_a_venue_that_is_400_ms_further_away_is_400_ms_older(admin_client: Client) -> None:
    natives = {FAR: SYMBOL, NEAR: "BTCUSDT"}
    for slug, native in natives.items():
        builders.symbol(Exchange.objects.get(pk=slug), SYMBOL, native=native, rank=1, tier=1)
    far_off = Options(delays_s={FAR: DELAY_S})
    with (
        simulated(FAR, NEAR, options=far_off) as sim,
        streamed(sim, FAR, [natives[FAR]]) as far,
        streamed(sim, NEAR, [natives[NEAR]]) as near,
    ):

        def is_seen_enough() -> bool:
            for run in (far, near):
                run.burst(100)
                _ingest(run)
            latency.sample(now_ms())
            markets = latency.summed(latency.quotes(BASE), WINDOWS["1h"], now_ms())
            return len(markets) == 2 and all(its.samples >= ENOUGH for its in markets)

        until(is_seen_enough, within_s=30)
    told = report(admin_client)
    assert of(told, FAR)["network_p50_ms"] - of(told, NEAR)["network_p50_ms"] == pytest.approx(400, abs=50)
    for slug in natives:
        assert of(told, slug)["uncertainty_ms"] is None, "no host has told anything of the clock"
        assert 0 <= of(told, slug)["processing_p50_ms"] <= of(told, slug)["processing_p95_ms"]


def _ingest(run: Streamed) -> None:
    while run.batches:
        ingest.ingest(wire.pack(run.batches.pop(0)))


def test_a_clock_that_is_wrong_is_no_latency(redis_state: redis.Redis, admin_client: Client) -> None:
    at_ms = now_ms()
    clock = {"clock_offset_ms": 3000.0, "clock_uncertainty_ms": 4.5, "clock_measured_ms": at_ms}
    redis_state.hset(keys.stream(FAR), mapping=clock)
    for number in range(20):
        for slug, age_ms in ((FAR, -2_900), (NEAR, 60)):
            quote(redis_state, slug, at_ms=at_ms + number, age_ms=age_ms)
        latency.sample(at_ms + number)
    told = report(admin_client)
    assert of(told, FAR)["network_p50_ms"] == pytest.approx(100, rel=0.05)
    assert (of(told, FAR)["uncertainty_ms"], of(told, FAR)["clock_offset_ms"]) == (4.5, 3000.0)
    assert of(told, NEAR)["network_p50_ms"] == pytest.approx(60, rel=0.05)


def test_processing_is_from_the_socket_until_shown(redis_state: redis.Redis, admin_client: Client) -> None:
    at_ms = now_ms()
    for number in range(20):
        quote(redis_state, FAR, at_ms=at_ms + number, age_ms=50, origin=f"|12.5|{at_ms + number + 80}|b:1")
        quote(redis_state, NEAR, at_ms=at_ms + number, age_ms=50)  # as a worker of an older version leaves it
        latency.sample(at_ms + number)
    told = report(admin_client)
    assert of(told, FAR)["processing_p50_ms"] == pytest.approx(80, rel=0.05)
    assert of(told, NEAR)["processing_p50_ms"] is None


def test_a_quote_is_counted_once_and_old_ones_not_at_all(redis_state: redis.Redis) -> None:
    at_ms = now_ms()
    quote(redis_state, NEAR, at_ms=at_ms - 60_000, age_ms=50)
    quote(redis_state, FAR, at_ms=at_ms, age_ms=50)
    assert [latency.sample(at_ms + after_ms) for after_ms in (1, 2, 3)] == [1, 0, 0]


def test_what_is_kept_ends_by_itself(redis_state: redis.Redis) -> None:
    quote(redis_state, FAR, at_ms=now_ms(), age_ms=50)
    latency.sample(now_ms())
    kept = redis_state.keys("latency:*")
    assert len(kept) == 1 + len(WINDOWS)
    assert all(0 < redis_state.ttl(key) <= 25 * 3600 for key in kept)


# ---- who moves first -------------------------------------------------------------------------------


def trail(state: redis.Redis, exchange: str, until_ms: int, crossed_ms: int, part_ms: int) -> None:
    """A price every second for three minutes, traded `part_ms` after its begin; 30 bps more from `crossed_ms` on."""
    for second in range(until_ms // 1000 - 180, until_ms // 1000):
        at_ms = second * 1000 + part_ms
        price = 100.3 if at_ms >= crossed_ms else 100.0
        state.hset(keys.trail(exchange, SYMBOL), str(second % TRAIL_SECONDS), f"{at_ms}|{price}")


def move(state: redis.Redis, number: int, *, lead_s: int) -> None:
    """Both move within a second, the far one earlier by its own clock when `lead_s`; then what the task does."""
    end_ms = NOW_MS + number * 600_000
    crossed_ms = end_ms - 90_000
    trail(state, FAR, end_ms, crossed_ms - 1000 * lead_s, 950 if lead_s else 100)
    trail(state, NEAR, end_ms, crossed_ms, 50)
    for slug, age_ms in ((FAR, 450), (NEAR, 50)):
        quote(state, slug, at_ms=end_ms + 10_000, age_ms=age_ms)
        clock = {"clock_offset_ms": 0.0, "clock_uncertainty_ms": 5.0, "clock_measured_ms": end_ms}
        state.hset(keys.stream(slug), mapping=clock)
    latency.sample(end_ms + 10_000)
    for _ in range(2):  # finding the same move again changes nothing
        assert moves.note(end_ms + 10_000) == 1


def test_who_is_far_away_is_seldom_first_whatever_its_own_clock_says(
    redis_state: redis.Redis, admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 12
    for number in range(count):
        move(redis_state, number, lead_s=number % 2)
    monkeypatch.setattr("livermore.web.latency.now_ms", lambda: NOW_MS + count * 600_000)
    told = report(admin_client, window="24h")
    assert told["moves"] == count
    pairs = {(pair["exchange"], pair["other"]): pair for pair in told["pairs"]}
    assert pairs[FAR, NEAR]["venue"] == {"moves": 12, "first": 6, "behind": 0, "ties": 6, "share": 0.5}
    assert pairs[FAR, NEAR]["arrival"] == {"moves": 12, "first": 0, "behind": 6, "ties": 6, "share": 0.0}
    assert pairs[NEAR, FAR]["arrival"]["share"] == 0.5
    assert {its["exchange"]: its["arrival"]["first"] for its in told["first"]} == {FAR: 0, NEAR: 6}
    page = admin_client.get("/latency/", {"base": BASE, "window": "24h"}).content.decode()
    assert "<b>0 %</b>" in page
    assert "n 12 (= 6)" in page


def test_of_few_moves_the_page_tells_no_share(
    redis_state: redis.Redis, admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    move(redis_state, 0, lead_s=0)
    monkeypatch.setattr("livermore.web.latency.now_ms", lambda: NOW_MS + 10_000)
    told = report(admin_client)
    assert [pair["arrival"]["share"] for pair in told["pairs"]] == [None, None]
    assert "not enough moves" in admin_client.get("/latency/", {"base": BASE}).content.decode()


# ---- page and API ----------------------------------------------------------------------------------


def test_a_fresh_page_says_how_to_begin(admin_client: Client) -> None:
    page = admin_client.get("/latency/")
    assert page.status_code == 200
    assert b"manage.py start_exchange" in page.content


def test_what_cannot_be_is_refused(client: Client, admin_client: Client) -> None:
    assert client.get("/api/v1/latency?base=BTC").status_code in (200, 401)
    assert Client().get("/api/v1/latency?base=BTC").status_code == 401
    assert Client().get("/latency/").status_code == 302
    refused = admin_client.get("/api/v1/latency?base=BTC&window=2h")
    assert refused.status_code == 422
    assert "'1h' or '24h'" in refused.json()["error"]["message"]
    assert admin_client.get("/api/v1/latency?base=NOSUCH").json()["error"]["code"] == "unknown_symbol"
