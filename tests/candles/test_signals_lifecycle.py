"""One identity through its life: confirmation, gate, updates, closing, cool-down."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from uuid import UUID

import pytest

from candles.signals.evaluation import Evaluation, Prices
from candles.signals.guards import Suppression
from candles.signals.leader_move import RULES, evaluate
from candles.signals.lifecycle import IDLE, Step, event_id, step
from candles.signals.section import CrossSection
from candles.signals.state import State
from tests.candles.market import START_MS, market

LEADER = market("alpha", "BTC-USD", {-1: 64_000.0, 0: 64_256.0})
FOLLOWER = market("beta", "BTC-USD", {-1: 63_950.0, 0: 63_962.79})


def held(follower: float = 63_962.79, leader: float = 64_256.0, after_ms: int = 0) -> Evaluation:
    """The worked example, its prices changed and looked at so much later."""
    section = CrossSection("BTC", START_MS, (LEADER, FOLLOWER))
    of = next(e for e in evaluate(section) if e.window_s == 60 and e.holds)
    moved = replace(of.follower, trail=((START_MS + after_ms, follower),))
    quoted = Decimal(str(leader)), Decimal(str(follower))
    now = Prices(leader, follower)
    return replace(of, follower=moved, quoted=quoted, now=now, now_ms=START_MS + after_ms)


def opened() -> State:
    return step(RULES, State(candidate_ms=START_MS - 1_000), held(), START_MS).state


def follow(state: State, of: Evaluation) -> Step:
    return step(RULES, state, of, of.now_ms)


def test_a_candidate_opens_on_the_second_evaluation_a_second_later() -> None:
    first = step(RULES, IDLE, held(), START_MS)
    assert (first.state.candidate_ms, first.events) == (START_MS, ())
    second = step(RULES, first.state, held(), START_MS + 999)
    assert (second.state, second.events) == (first.state, ())
    third = step(RULES, second.state, held(), START_MS + 1_000)
    assert [e["phase"] for e in third.events] == ["opened"]


def test_a_candidate_that_fails_in_between_starts_again() -> None:
    candidate = step(RULES, IDLE, held(), START_MS).state
    assert step(RULES, candidate, replace(held(), holds=False), START_MS + 500).state == IDLE


def test_only_one_event_of_an_identity_is_active() -> None:
    state = opened()
    again = follow(state, held(after_ms=1_000))
    assert again.events == ()
    assert again.state.active
    assert state.active
    assert again.state.active.event_id == state.active.event_id


def test_the_id_depends_on_identity_and_onset_only() -> None:
    state = opened()
    assert state.active
    assert state.active.event_id == event_id(held().identity, state.active.onset_ms)
    assert UUID(state.active.event_id).version == 5
    assert event_id("a", 1) == event_id("a", 1) != event_id("a", 2)


def test_an_update_needs_a_new_peak_of_five_bps_or_ten_seconds() -> None:
    state = opened()
    assert follow(state, held(leader=64_256 * 1.0004, after_ms=1_000)).events == ()
    risen = follow(state, held(leader=64_256 * 1.0006, after_ms=1_000))
    assert [e["phase"] for e in risen.events] == ["updated"]
    assert float(risen.events[0]["metrics"]["remaining_bps"]) == pytest.approx(43.92, abs=0.02)
    assert follow(risen.state, held(leader=64_256 * 1.0006, after_ms=2_000)).events == ()
    assert follow(risen.state, held(leader=64_256, after_ms=10_999)).events == ()
    assert len(follow(risen.state, held(leader=64_256, after_ms=11_000)).events) == 1


def test_closing_tells_outcome_duration_peak_and_excursions() -> None:
    dipped = follow(opened(), held(follower=63_930.81, after_ms=2_000)).state  # −5 bps
    closed = follow(dipped, held(follower=64_186.66, after_ms=7_000))  # +35 bps
    (event,) = closed.events
    assert (event["phase"], event["outcome"], event["duration_ms"]) == ("closed", "converged", 7_000)
    assert event["mfe_bps"] == "35.00"
    assert event["mae_bps"] == "-5.00"
    assert event["peak_remaining_bps"] == "42.92"
    assert closed.state == State(cool_until_ms=START_MS + 67_000)


def test_excursions_are_measured_from_the_ask() -> None:
    of = held()
    booked = replace(of.follower.leg, bid=Decimal("63962.0"), ask=Decimal("63969.19"))
    of = replace(of, follower=replace(of.follower, leg=booked))
    active = step(RULES, State(candidate_ms=0), of, START_MS).state.active
    assert active
    assert active.entry == 63_969.19
    assert active.worst_bps == pytest.approx(-1.0, abs=0.01)


def test_nothing_opens_while_cooling_down() -> None:
    cooling = State(cool_until_ms=START_MS + 60_000)
    assert step(RULES, cooling, held(), START_MS + 59_999).state == cooling
    after = step(RULES, cooling, held(), START_MS + 60_000)
    assert after.state == State(candidate_ms=START_MS + 60_000)


def test_a_suppressed_candidate_is_counted_once_and_starts_again_afterwards() -> None:
    of = replace(held(), holds=False, suppressed=Suppression.GAP_OPEN)
    first = step(RULES, State(candidate_ms=0), of, START_MS)
    assert (first.suppressed, first.state) == (Suppression.GAP_OPEN, State(suppressed="gap_open"))
    second = step(RULES, first.state, of, START_MS + 250)
    assert second.suppressed is None
    other = replace(of, suppressed=Suppression.WARMING)
    assert step(RULES, second.state, other, START_MS + 500).suppressed is Suppression.WARMING
    assert step(RULES, second.state, held(), START_MS + 500).state == State(candidate_ms=START_MS + 500)


def test_an_event_whose_leg_disappears_is_invalidated() -> None:
    closed = step(RULES, opened(), None, START_MS + 3_000)
    (event,) = closed.events
    assert (event["phase"], event["outcome"], event["duration_ms"]) == ("closed", "invalidated", 3_000)
    assert closed.state.cool_until_ms == START_MS + 63_000


def test_a_state_survives_json() -> None:
    for state in (IDLE, opened(), State(candidate_ms=1), State(cool_until_ms=2), State(suppressed="muted")):
        assert State.from_dict(json.loads(json.dumps(state.to_dict()))) == state


def test_an_idle_state_need_not_be_kept() -> None:
    assert IDLE.is_idle(0)
    assert State(cool_until_ms=5).is_idle(5)
    assert not State(cool_until_ms=5).is_idle(4)
    assert not opened().is_idle(0)
    assert not State(candidate_ms=1).is_idle(2)
