"""The scenario pack of signals.md §4.8 for LEADER_MOVE, from ticks to events."""

from __future__ import annotations

from dataclasses import replace

import pytest

from candles.signals.reference import RateMarket
from candles.signals.section import Clock
from tests.candles.market import START_MS, Path, Venue, play, ramp

CLEAN = (Venue("alpha", ramp(64_000, 30, 20, 60)), Venue("beta", ramp(64_000, 30, 66, 76)))
JUMP = (Venue("alpha", ramp(64_000, 80, 20, 21)), Venue("beta", ramp(64_000, 80, 30, 32)))


def spike(at_s: float) -> float:
    return ramp(64_000, 55, 20, 22)(at_s) or 0.0 if at_s < 30 else ramp(64_352, -54.7, 30, 32)(at_s) or 0.0


def until(path: Path, end_s: float) -> Path:
    return lambda at_s: path(at_s) if at_s < end_s else None


def test_l1_a_clean_lead_opens_once_and_converges() -> None:
    played = play(*CLEAN, seconds=150)
    assert played.phases() == [("opened", "alpha", "up", 60), ("converged", "alpha", "up", 60)]
    assert not played.suppressed


@pytest.mark.parametrize("bps", [80, -80])
def test_l1_a_jump_opens_once_per_window_and_the_catch_up_opens_nothing(bps: float) -> None:
    """Long enough for every window to pass the jump and the catch-up again."""
    alpha, beta = Venue("alpha", ramp(64_000, bps, 20, 21)), Venue("beta", ramp(64_000, bps, 30, 32))
    direction = "up" if bps > 0 else "down"
    expected = [(phase, "alpha", direction, w) for phase in ("opened", "converged") for w in (15, 60, 300)]
    assert play(alpha, beta, seconds=400).phases() == expected


def test_l2_venues_that_move_together_open_nothing() -> None:
    together = Venue("alpha", ramp(64_000, 80, 20, 22)), Venue("beta", ramp(64_000, 80, 20.5, 22.5))
    assert play(*together, seconds=60).events == []


def test_l3_a_spike_that_reverts_is_reversed_and_its_return_is_no_lead() -> None:
    played = play(Venue("alpha", spike), Venue("beta", ramp(64_000, 0, 0, 1)), seconds=400)
    expected = [(phase, "alpha", "up", w) for phase in ("opened", "reversed") for w in (15, 60)]
    assert played.phases() == expected


def test_l4_a_stale_follower_is_suppressed_and_counted() -> None:
    silent = Venue("beta", until(ramp(64_000, 0, 0, 1), -20))
    played = play(Venue("alpha", ramp(64_000, 30, 20, 40)), silent, seconds=60)
    assert played.events == []
    assert set(played.suppressed) == {"stale_follower"}


def test_a_follower_that_falls_silent_invalidates_the_event() -> None:
    alpha, _ = JUMP
    played = play(alpha, Venue("beta", until(ramp(64_000, 0, 0, 1), 24)), seconds=40)
    assert [p[0] for p in played.phases()] == ["opened"] * 3 + ["invalidated"] * 3


def test_a_follower_that_never_comes_lets_the_event_expire() -> None:
    alpha, _ = CLEAN
    played = play(alpha, Venue("beta", ramp(64_000, 0, 0, 1)), seconds=260)
    assert played.phases() == [("opened", "alpha", "up", 60), ("expired", "alpha", "up", 60)]
    assert played.events[-1]["duration_ms"] == pytest.approx(180_000, abs=500)


def test_t1_a_known_clock_error_of_three_seconds_makes_no_leader() -> None:
    same = ramp(64_000, 80, 20, 21)
    for error in (3_000, -3_000):
        skewed = Venue("beta", same, clock_error_ms=error, clock=Clock(error, 20))
        assert play(Venue("alpha", same), skewed, seconds=60).events == []


def test_t1_a_lead_is_found_on_a_venue_whose_clock_is_known_to_be_late() -> None:
    late = [replace(v, clock_error_ms=-20_000, clock=Clock(-20_000, 20)) for v in CLEAN]
    expected = play(*CLEAN, seconds=90).phases()
    assert play(late[0], CLEAN[1], seconds=90).phases() == expected
    assert play(CLEAN[0], late[1], seconds=90).phases() == expected


def test_t1_an_unknown_clock_error_into_the_future_is_suppressed() -> None:
    same = ramp(64_000, 80, 20, 21)
    played = play(Venue("alpha", same), Venue("beta", same, clock_error_ms=3_000), seconds=60)
    assert played.events == []
    assert set(played.suppressed) <= {"clock_uncertain"}


def test_r1_replayed_twice_gives_identical_events() -> None:
    assert play(*JUMP, seconds=60).events == play(*JUMP, seconds=60).events


def test_r1_an_evaluator_that_looks_at_other_instants_gives_identical_ids() -> None:
    found = [play(*JUMP, seconds=60, every_ms=every_ms) for every_ms in (250, 330, 700)]
    opened = [[e for e in played.events if e["phase"] == "opened"] for played in found]
    assert len({events[0]["evaluated_ms"] for events in opened}) == 3
    ids = [[e["event_id"] for e in events] for events in opened]
    assert ids[0] == ids[1] == ids[2]
    assert len(set(ids[0])) == 3


def test_with_usdt_at_9992_the_lead_is_found_and_the_standing_gap_is_not_one() -> None:
    def rates(now_ms: int) -> tuple[RateMarket, ...]:
        points = [(now_ms - 1_000 * s, 0.9992) for s in range(400, -1, -1)]
        return (RateMarket("alpha", "USDT", "USD", points),)

    alpha, beta = CLEAN
    beta = replace(beta, symbol="BTC-USDT", path=ramp(64_000 / 0.9992, 30, 66, 76))
    played = play(alpha, beta, seconds=90, rates=rates)
    assert played.phases() == [("opened", "alpha", "up", 60), ("converged", "alpha", "up", 60)]
    opened = played.events[0]
    assert opened["follower"]["usd_rate"] == "0.9992"
    assert float(opened["metrics"]["gap_bps_normalised"]) == pytest.approx(
        float(opened["metrics"]["gap_bps_raw"]) + 8, abs=0.1
    )


def test_without_a_rate_mixed_pairs_are_suppressed_and_pairs_in_one_quote_go_on() -> None:
    alpha, beta = CLEAN
    usdt = replace(beta, exchange="gamma", symbol="BTC-USDT", path=ramp(64_051, 30, 66, 76))
    played = play(alpha, beta, usdt, seconds=90)
    assert [e["follower"]["exchange"] for e in played.events if e["phase"] == "opened"] == ["beta"]
    assert set(played.suppressed) == {"basis_stale"}


def test_nothing_comes_from_before_the_start() -> None:
    assert all(e["onset_ms"] >= START_MS for e in play(*CLEAN, seconds=90).events)
