"""LEAD_LAG: a synthetic lag is found, none is made up, and too few ticks say nothing (signals.md §4.3.4)."""

from __future__ import annotations

import random
from dataclasses import replace
from math import sqrt

import pytest

from candles.signals.guards import Suppression
from candles.signals.hayashi import Ticks
from candles.signals.lead_lag import RULES, Lead, LeadSection, Series, Verdict, evaluate, measure
from candles.signals.lifecycle import IDLE, step
from candles.signals.section import Clock
from tests.candles.market import START_MS, market

STEP_MS, WINDOW_MS, CORRELATION = 50, 900_000, 0.95
BTC = market("alpha", "BTC-USD", {0: 1.0}, clock=Clock(0, 20)), market("beta", "BTC-USD", {0: 1.0}, clock=Clock(0, 20))


def windows(seed: int, counts: tuple[int, int], lag_s: float, skew_s: float = 0.0) -> tuple[Series, Series]:
    """Two venues of one asset: correlation 0.95, 1 bp per root second, 0.5 bp of noise in each price."""
    rng = random.Random(seed)
    length = (WINDOW_MS + 30_000) // STEP_MS
    paths: list[list[float]] = [[0.0], [0.0]]
    for _ in range(length):
        common, own = rng.gauss(0, 1), rng.gauss(0, 1)
        paths[0].append(paths[0][-1] + sqrt(STEP_MS / 1e3) * common)
        paths[1].append(paths[1][-1] + sqrt(STEP_MS / 1e3) * (CORRELATION * common + sqrt(1 - CORRELATION**2) * own))
    made = []
    for place, (path, count) in enumerate(zip(paths, counts, strict=True)):
        times = sorted(rng.sample(range(WINDOW_MS), count))
        late_ms = int(1e3 * lag_s) * place
        values = [1e-4 * (path[(at + 15_000 - late_ms) // STEP_MS] + rng.gauss(0, 0.5)) for at in times]
        told = [at + int(1e3 * skew_s) * place for at in times]
        made.append(Series(BTC[place], Ticks(told, values), Ticks([at + 100 for at in times], values), 100.0))
    return made[0], made[1]


def published(found: Lead) -> bool:
    return found.verdict is Verdict.OK and found.llr is not None and found.llr >= 1.6


@pytest.mark.parametrize("counts", [(603, 603), (900, 450)])
def test_a_lag_of_a_second_and_a_half_is_found_within_half_a_second(counts: tuple[int, int]) -> None:
    """I16: in at least 95 % of the windows that pass the gate."""
    found = [measure(*windows(seed, counts, 1.5)) for seed in range(12)]
    right = [f for f in found if f.leader.market is BTC[0] and f.lag_ms and abs(f.lag_ms - 1_500) <= 500]
    assert len(right) == len(found)
    assert sum(published(f) for f in found) >= 11
    assert all(f.arrival_lag_ms is not None and abs(f.arrival_lag_ms - 1_500) <= 500 for f in found)
    assert all(f.is_actionable for f in found)


def test_without_a_lag_no_regime_is_published() -> None:
    found = [measure(*windows(100 + seed, (603, 603), 0.0)) for seed in range(12)]
    assert not any(published(f) for f in found)


def test_too_few_ticks_say_nothing_and_a_direction_comes_before_a_lag() -> None:
    few = measure(*windows(1, (299, 900), 1.5))
    assert (few.verdict, few.llr, few.lag_ms) == (Verdict.NOT_ENOUGH_TICKS, None, None)
    direction = measure(*windows(1, (900, 310), 1.5))
    assert (direction.verdict, direction.leader.market, direction.lag_ms) == (Verdict.OK, BTC[0], None)
    assert measure(*windows(1, (900, 450), 1.5)).lag_ms is not None


def test_the_order_of_the_two_does_not_matter() -> None:
    one, other = windows(2, (900, 450), 1.5)
    there, back = measure(one, other), measure(other, one)
    assert (there.leader, there.lag_ms) == (back.leader, back.lag_ms) == (one, there.lag_ms)
    assert there.llr == pytest.approx(back.llr)


def test_a_clock_that_nobody_measured_or_that_is_too_uncertain_makes_no_leader() -> None:
    """T1: three seconds of skew look like a lead."""
    one, other = windows(3, (900, 600), 0.0, skew_s=3.0)
    for uncertainty_ms in (None, 251):
        doubted = replace(other, market=replace(BTC[1], clock=Clock(0, uncertainty_ms)))
        assert measure(one, doubted).verdict is Verdict.CLOCK_UNCERTAIN
        (of,) = evaluate(LeadSection("BTC", START_MS, (measure(one, doubted),)))
        assert (of.holds, of.suppressed) == (False, Suppression.CLOCK_UNCERTAIN)


def test_a_lag_within_twice_the_clocks_uncertainty_is_none() -> None:
    one, other = (replace(s, market=replace(s.market, clock=Clock(0, 240))) for s in windows(4, (900, 600), 0.75))
    assert measure(one, other).verdict is Verdict.WITHIN_CLOCK_ERROR


def test_a_regime_begins_with_the_second_window_and_ends_with_the_second_without() -> None:
    strong = measure(*windows(5, (900, 600), 1.5))
    weak = replace(strong, llr=1.29)
    state, phases = IDLE, []
    for number, lead in enumerate((strong, strong, weak, strong, weak, weak)):
        section = LeadSection("BTC", START_MS + 300_000 * number, (lead,))
        (of,) = evaluate(section)
        taken = step(RULES, state, of, section.now_ms)
        state = taken.state
        phases.append([event["phase"] for event in taken.events])
    assert phases == [[], ["opened"], ["updated"], ["updated"], ["updated"], ["closed"]]


def test_a_watched_regime_whose_leader_changed_is_over() -> None:
    found = measure(*windows(6, (900, 600), 1.5))
    turned = "LEAD_LAG|BTC|beta:BTC-USD|alpha:BTC-USD|none|900"
    _, of = evaluate(LeadSection("BTC", START_MS, (found,)), {turned})
    assert (of.identity, of.holds, of.is_over) == (turned, False, True)
