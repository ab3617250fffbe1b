"""The venue's clock: the estimate by itself, and the thread that keeps it against simulators and real servers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanges import registry
from exchanges.clock import CALLS, Call, Estimate, Timekeeper, estimate, resolution_ms
from exchanges.crashes import Crashes
from exchanges.simulator import available
from exchanges.venue import Endpoint
from tests.support.budgets import OpenBudget
from tests.support.http_server import Answer, Asked, http_server
from tests.support.simulation import Running, simulated
from tests.support.streaming import streamed
from tests.support.waiting import until

NOW_NS = 1_770_000_000_123_456_789
COM = "binance"
AHEAD_S = 3.0


# ---- the estimate ----------------------------------------------------------------------------------


@given(
    offset_us=st.integers(-10_000_000, 10_000_000),
    ways_us=st.lists(st.tuples(st.integers(0, 900_000), st.integers(0, 900_000)), min_size=1, max_size=6),
    cut_ms=st.sampled_from([1, 10, 100, 1_000]),
)
def test_it_is_right_within_its_uncertainty_whichever_way_took_longer(
    offset_us: int, ways_us: list[tuple[int, int]], cut_ms: int
) -> None:
    calls = []
    for number, (there_us, back_us) in enumerate(ways_us):
        sent_ns = NOW_NS + number * 1_000_000_000
        told_ms = (sent_ns + (there_us + offset_us) * 1_000) // 1_000_000 // cut_ms * cut_ms
        calls.append(Call(sent_ns, (there_us + back_us) * 1_000, told_ms))
    resolution = resolution_ms(calls)
    assert resolution >= cut_ms
    found = estimate(calls, resolution)
    assert abs(found.offset_ms - offset_us / 1_000) <= found.uncertainty_ms + 1e-6
    shortest_ms = min(there_us + back_us for there_us, back_us in ways_us) / 1_000
    assert found.uncertainty_ms == pytest.approx(shortest_ms / 2 + resolution)


def test_the_call_with_the_least_round_trip_counts() -> None:
    slow, quick = Call(0, 400_000_000, 3_350), Call(1_000_000_000, 20_000_000, 4_010)
    found = estimate([slow, quick], 1)
    assert (found.offset_ms, found.uncertainty_ms, found.measured_ms) == (3_000.0, 11.0, 1_020)


def test_an_offset_that_may_be_none_corrects_nothing() -> None:
    assert Estimate(-3_000.0, 2_999.0, 0).proven_ms == -3_000.0
    assert Estimate(-300.0, 301.0, 0).proven_ms == 0.0


def test_a_venue_that_tells_whole_seconds_is_known_no_better_than_that() -> None:
    coarse = [Call(NOW_NS, 1_000_000, 1_770_000_000_000 + second * 1_000) for second in range(4)]
    assert resolution_ms(coarse) == 1_000
    assert estimate(coarse, resolution_ms(coarse)).uncertainty_ms > 1_000
    fine = Call(NOW_NS, 1_000_000, 1_770_000_000_123)
    assert resolution_ms([fine]) == 1
    assert resolution_ms(coarse, known_ms=1) == 1, "what earlier answers showed stays known"


# ---- the thread ------------------------------------------------------------------------------------


@contextmanager
def kept(
    slug: str, rest_url: str, may_ask: Callable[[], bool] = lambda: True, every_s: float = 0.05
) -> Iterator[Timekeeper]:
    """A thread that asks the venue at an address until the end."""
    rest = registry.venue(slug).rest(Endpoint(rest_url, ""), OpenBudget())
    keeper = Timekeeper(slug, rest, may_ask, Crashes(), every_s)
    keeper.start()
    try:
        yield keeper
    finally:
        keeper.stop(5.0)
    assert not [t for t in threading.enumerate() if t.name == f"{slug}-clock"]


def skew(sim: Running, slug: str, by_s: float) -> None:
    sim.call(sim.simulation.market.skew, slug, by_s)


def test_each_venues_clock_is_measured_by_its_own_rest() -> None:
    """D12: three seconds ahead are told as such, the others' clocks as right."""
    with simulated(pace=0.1) as sim:
        slugs = available()
        for slug in slugs[::2]:
            skew(sim, slug, AHEAD_S)
        for slug in slugs:
            with kept(slug, sim.endpoints[slug]["rest"], every_s=60) as keeper:
                found = until(lambda keeper=keeper: keeper.estimate)
            expected_ms = AHEAD_S * 1_000 if slug in slugs[::2] else 0.0
            assert found.offset_ms == pytest.approx(expected_ms, abs=100), slug
            assert found.uncertainty_ms < 100, slug
            assert 0 <= time.time_ns() // 1_000_000 - found.measured_ms < 10_000


def test_a_clock_that_is_put_right_is_noticed() -> None:
    with simulated(COM, pace=0.1) as sim, kept(COM, sim.endpoints[COM]["rest"]) as keeper:
        skew(sim, COM, -AHEAD_S)
        until(lambda: keeper.estimate and abs(keeper.estimate.offset_ms + 3_000) < 100)
        skew(sim, COM, 0.0)
        until(lambda: keeper.estimate and abs(keeper.estimate.offset_ms) < 100)


def time_server(answers: Iterator[Answer]) -> Any:
    """A venue whose REST gives these answers and then the right time."""

    def answer(asked: Asked) -> Answer:
        return next(answers, None) or Answer({"serverTime": time.time_ns() // 1_000_000})

    return http_server(answer)


def test_few_questions_are_asked_and_a_refusal_ends_the_round() -> None:
    refusals = iter([Answer({"msg": "no"}, status=503)])
    with time_server(refusals) as server, kept(COM, server.url, every_s=0.5) as keeper:
        until(lambda: server.asked)
        time.sleep(0.2)
        assert len(server.asked) == 1
        assert keeper.estimate is None
        until(lambda: keeper.estimate)
        time.sleep(0.1)
        assert len(server.asked) == 1 + CALLS
        assert {asked.path for asked in server.asked} == {"/api/v3/time"}


def test_a_slow_rest_is_told_by_its_uncertainty() -> None:
    slow = (Answer({"serverTime": time.time_ns() // 1_000_000}, delay_s=0.2) for _ in range(CALLS))
    with time_server(slow) as server, kept(COM, server.url, every_s=60) as keeper:
        found = until(lambda: keeper.estimate)
    assert 100 <= found.uncertainty_ms < 400
    assert abs(found.offset_ms) <= found.uncertainty_ms


def test_an_estimate_outlives_a_rest_that_fails_and_keeps_its_age() -> None:
    with simulated(COM, pace=0.1) as sim, kept(COM, sim.endpoints[COM]["rest"]) as keeper:
        until(lambda: keeper.estimate)
        sim.fault(COM, "rest_status", status=503, for_s=60)
        time.sleep(0.3)  # a round that was under way
        kept_estimate = keeper.estimate
        time.sleep(0.3)
        assert keeper.estimate is kept_estimate


def test_who_must_not_be_asked_is_not_asked() -> None:
    is_allowed = threading.Event()
    with time_server(iter(())) as server, kept(COM, server.url, is_allowed.is_set) as keeper:
        time.sleep(0.2)
        assert server.asked == []
        is_allowed.set()
        until(lambda: keeper.estimate)


# ---- in a stream -----------------------------------------------------------------------------------


def test_a_stream_lives_without_its_venues_clock() -> None:
    with simulated(COM, pace=5) as sim:
        sim.fault(COM, "rest_status", status=451, for_s=60)
        with streamed(sim, COM, ["BTCUSDT"]) as run:
            run.until_state("streaming")
            until(lambda: run.batches)
            seen = run.stream.snapshot()
            assert (seen.state, seen.errors, seen.clock, seen.crashes) == ("streaming", 0, None, ())
