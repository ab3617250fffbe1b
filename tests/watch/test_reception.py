"""Incidents and uptime: what ceased to come, for how long and why, by data received and not by processes alive."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pytest
import redis
from django.core.cache import cache
from django.test import Client

from candles.models import Gap
from candles.services import repair
from exchanges import observed
from exchanges.models import Exchange
from exchanges.observed import Change
from exchanges.stream import CLOCK_MARGIN_NS
from livermore.watch import incidents, reception
from livermore.watch.models import Reception
from tests.support import builders
from tests.support.simulation import simulated
from tests.support.streaming import Streamed, streamed
from tests.support.waiting import until

pytestmark = pytest.mark.django_db
SLUG = "binance"
BEGIN_MS = time.time_ns() // 1_000_000 - 3_600_000
LOOK_S = 5
GONE: Mapping[str, str] = {}


@pytest.fixture(autouse=True)
def fresh(redis_state: redis.Redis) -> None:
    cache.clear()


class Watched:
    """An exchange that is looked at every five seconds of a clock that a test moves."""

    def __init__(self) -> None:
        self.row = Exchange.objects.get(pk=SLUG)
        self.now_ms = BEGIN_MS
        self.last_ms = self.since_ms = 0
        self.epoch = 1

    def passes(self, seconds: float, state: str = "streaming", reason: str = "", *, is_gone: bool = False) -> None:
        """Data comes while it streams; else nothing does, for that reason."""
        end_ms = self.now_ms + int(seconds * 1000)
        if state == "streaming" and not is_gone and self.last_ms != self.now_ms:
            self.since_ms = self.now_ms
        while self.now_ms < end_ms:
            self.now_ms = min(end_ms, self.now_ms + LOOK_S * 1000)
            if state == "streaming" and not is_gone:
                self.last_ms = self.now_ms
            said = {
                "state": state, "reason": reason, "last_frame_ms": str(self.last_ms),
                "since_ms": str(self.since_ms) if state == "streaming" else "", "epoch": str(self.epoch),
            }  # fmt: skip
            reception.look(self.row, GONE if is_gone else said, self.now_ms)

    def incidents(self) -> list[incidents.Incident]:
        return incidents.incidents(SLUG, BEGIN_MS - 1000)

    def uptime(self) -> float | None:
        return incidents.uptime(SLUG, BEGIN_MS, self.now_ms)


def test_three_outages_are_three_incidents_of_their_length_and_cause() -> None:
    run, cut_s = Watched(), (33.0, 61.0, 95.0)
    told = (("backing_off", "closed by the venue: 1012"), ("degraded", "trades silent 12 s"), ("", ""))
    for length_s, (state, reason) in zip(cut_s, told, strict=True):
        run.passes(120)
        run.passes(length_s, state or "streaming", reason, is_gone=not state)
    run.passes(120)
    found = run.incidents()[::-1]
    assert [(i.to_ms or 0) - i.from_ms for i in found] == [pytest.approx(s * 1000, abs=5_000) for s in cut_s]
    assert [i.cause for i in found] == [told[0][1], told[1][1], "its stream host no longer reports"]
    assert run.uptime() == pytest.approx(1 - sum(cut_s) / (4 * 120 + sum(cut_s)), abs=0.01)


def test_an_outage_that_lasts_is_open_and_costs_more_and_more() -> None:
    run = Watched()
    run.passes(100)
    run.passes(50, "backing_off", "no route")
    (lasting,) = run.incidents()
    assert (lasting.to_ms, lasting.cause) == (None, "no route")
    before = run.uptime()
    run.passes(50, "backing_off", "no route")
    assert before is not None
    assert (run.uptime() or 0) < before < 1


@pytest.mark.parametrize("state", ["idle", "paused"])
def test_what_was_wished_is_no_outage_and_no_time_to_run(state: str) -> None:
    run = Watched()
    run.passes(100)
    run.passes(600, state, "asked to")
    run.passes(100)
    assert run.incidents() == []
    assert run.uptime() == 1.0


def test_a_quiet_market_is_no_outage_and_one_that_turns_out_silent_was_from_its_last_frame_on() -> None:
    run = Watched()
    run.passes(60)
    last_ms = run.last_ms

    def quiet(seconds: int, receiving: int) -> None:
        for _ in range(0, seconds, LOOK_S):
            run.now_ms += LOOK_S * 1000
            told = {"state": "streaming", "last_frame_ms": run.last_ms, "since_ms": run.since_ms, "wanted": 10}
            said = {**told, "receiving": receiving, "updated_ms": run.now_ms, "epoch": 1}
            reception.look(run.row, {name: str(value) for name, value in said.items()}, run.now_ms)

    quiet(40, receiving=9)
    assert run.incidents() == []
    quiet(10, receiving=2)
    (silent,) = run.incidents()
    assert (silent.from_ms, silent.to_ms) == (last_ms, None)


def test_an_exchange_that_never_ran_has_no_uptime() -> None:
    run = Watched()
    run.passes(60, "idle")
    assert run.uptime() is None
    assert not Reception.objects.exists()


@pytest.mark.parametrize("late_s", [14, 600])
def test_a_look_that_comes_late_makes_no_outage_of_a_stream_that_was_not_interrupted(late_s: int) -> None:
    run = Watched()
    run.passes(60)
    run.now_ms += late_s * 1000
    run.last_ms = run.now_ms  # and `since_ms` stays
    run.passes(60)
    assert run.incidents() == []
    assert run.uptime() == 1.0


@pytest.mark.parametrize("is_reconnect", [False, True])
def test_a_stream_that_began_anew_while_nobody_looked_was_away_unless_its_gaps_explain_it(is_reconnect: bool) -> None:
    run = Watched()
    run.passes(60)
    run.now_ms += 600_000
    if is_reconnect:
        to_ns = run.now_ms * 1_000_000
        Gap.objects.create(
            exchange=run.row, symbol="A-B", cause="disconnect", connection="x",
            from_ns=to_ns - 2_000_000_000 - CLOCK_MARGIN_NS, to_ns=to_ns + CLOCK_MARGIN_NS,
        )  # fmt: skip
    run.passes(60)
    (found,) = run.incidents()
    assert ("nobody looked" in found.cause) is not is_reconnect
    assert (found.to_ms or 0) - found.from_ms == pytest.approx(2_000 if is_reconnect else 600_000, abs=5_000)


def test_a_host_that_is_killed_and_succeeded_between_two_looks_was_away() -> None:
    run = Watched()
    run.passes(60)
    run.now_ms += 4_000
    run.epoch += 1
    run.passes(60)
    (found,) = run.incidents()
    assert "ended without leave" in found.cause
    assert (found.to_ms or 0) - found.from_ms == pytest.approx(4_000, abs=100)


def test_frames_that_come_before_every_connection_streams_are_no_outage() -> None:
    run = Watched()
    run.passes(5)
    run.since_ms = run.last_ms + 85
    run.passes(30)
    assert run.incidents() == []


def test_the_gap_of_a_reconnect_is_an_incident_without_its_margins() -> None:
    run = Watched()
    run.passes(300)
    for name in ("A-B", "C-B"):
        Gap.objects.create(
            exchange=run.row, symbol=name, cause="disconnect", connection="x",
            from_ns=(BEGIN_MS + 100_000) * 1_000_000 - CLOCK_MARGIN_NS,
            to_ns=(BEGIN_MS + 103_000) * 1_000_000 + CLOCK_MARGIN_NS,
        )  # fmt: skip
    (incident,) = run.incidents()
    assert (incident.from_ms - BEGIN_MS, (incident.to_ms or 0) - BEGIN_MS) == (100_000, 103_000)
    assert (incident.symbols, incident.is_outage) == (2, True)
    assert run.uptime() == pytest.approx(1 - 3 / 300, abs=0.001)


def test_what_one_symbol_misses_longer_is_told_apart_and_costs_no_uptime() -> None:
    for name in ("A-B", "C-B", "D-B"):
        builders.symbol(Exchange.objects.get(pk=SLUG), name, rank=1, tier=1)
    run = Watched()
    run.passes(100)
    run.passes(40, reason="", state="degraded")
    run.passes(100)
    Gap.objects.create(
        exchange=run.row, symbol="A-B", cause="disconnect", connection="x",
        from_ns=(BEGIN_MS + 90_000) * 1_000_000, to_ns=(BEGIN_MS + 160_000) * 1_000_000,
    )  # fmt: skip
    whole, part = sorted(run.incidents(), key=lambda i: not i.is_outage)
    assert (part.symbols, (part.to_ms or 0) - BEGIN_MS) == (1, 160_000 - 5_000)
    assert (whole.to_ms or 0) - whole.from_ms == pytest.approx(40_000, abs=5_000)
    assert run.uptime() == pytest.approx(200 / 240, abs=0.025)


def test_why_it_was_silent_may_be_known_only_at_its_end() -> None:
    run = Watched()
    run.passes(100)
    run.passes(30)  # connected
    run.passes(30, is_gone=False, state="degraded")
    (open_one,) = run.incidents()
    assert open_one.cause == "connected, and no frame comes"
    edge = Change(SLUG, "streaming", "closed", "backing_off", "stream", "no pong within 10 s", "h", 1, run.now_ms)
    observed.announce(edge)
    run.passes(30)
    (closed,) = run.incidents()
    assert closed.cause == "no pong within 10 s"


def test_three_cuts_of_a_real_socket_are_three_incidents(admin_client: Client) -> None:
    native, name = "BTCUSDT", "BTC-USDT"
    builders.symbol(Exchange.objects.get(pk=SLUG), name, native=native, rank=1, tier=1)
    with simulated(SLUG) as sim, streamed(sim, SLUG, [native]) as run:
        for number in range(1, 4):
            run.until_state("streaming")
            before = run.stream.snapshot().frames
            run.burst(100)
            until(lambda before=before: run.stream.snapshot().frames > before)  # it has heard something again
            cut_ms = time.time_ns() // 1_000_000
            sim.fault(SLUG, "handshake", status=503, for_s=1.0)
            sim.fault(SLUG, "abort")
            until(lambda want=number: len(disconnects(run)) == want, within_s=30)
            lasted_s = (time.time_ns() // 1_000_000 - cut_ms) / 1000
            _is_told(admin_client, run, number, lasted_s)


def disconnects(run: Streamed) -> list[Any]:
    return [gap for gap in run.gaps if gap.cause == "disconnect"]


def _is_told(client: Client, run: Streamed, number: int, lasted_s: float) -> None:
    repair.note(disconnects(run)[-1])
    told = client.get(f"/api/v1/exchanges/{SLUG}/incidents").json()["incidents"]
    newest = told[0]
    assert newest["duration_ms"] / 1000 == pytest.approx(lasted_s, abs=5)
    assert newest["symbols"] == 1
    assert len(told) == number
