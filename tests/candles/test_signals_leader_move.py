"""LEADER_MOVE at one moment: the worked example of signals.md §4.3.1 and every condition around it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from candles.signals.costs import local_costs
from candles.signals.evaluation import Evaluation, Figures, Outcome, figures
from candles.signals.guards import Suppression
from candles.signals.leader_move import cool_down_ms, evaluate, onset_ms, outcome
from candles.signals.reference import RateMarket
from candles.signals.section import CrossSection, Health, Market
from tests.candles.market import START_MS, market

LEADER = market("alpha", "BTC-USD", {-1: 64_000.0, 0: 64_256.0}, taker_bps=120.0)
FOLLOWER = market("beta", "BTC-USD", {-1: 63_950.0, 0: 63_962.79}, spread_bps=1.0)


def usdt_usd(value: float, ago_s: int = 0) -> RateMarket:
    points = [(START_MS - 1_000 * s, value) for s in range(600, ago_s - 1, -1)]
    return RateMarket("alpha", "USDT", "USD", points)


def moved(
    leader: Market = LEADER, follower: Market = FOLLOWER, window_s: int = 60, *rates: RateMarket, **more: Any
) -> Evaluation:
    """The evaluation of alpha leading beta upwards over one window."""
    section = CrossSection("BTC", START_MS, (leader, follower), rates)
    found = [e for e in evaluate(section, **more) if (e.window_s, e.leader.leg.exchange) == (window_s, "alpha")]
    assert len(found) == 1
    return found[0]


def since(of: Evaluation) -> Figures:
    assert of.now
    assert of.before
    return figures(of.now, of.before, of.direction)


def test_worked_example() -> None:
    of = moved()
    moves = since(of)
    assert of.sigma_bps == pytest.approx(13.416, abs=0.0005)
    assert moves.leader_bps == pytest.approx(39.92, abs=0.005)
    assert moves.follower_bps == pytest.approx(2.00, abs=0.005)
    assert moves.leader_bps / of.sigma_bps == pytest.approx(2.975, abs=0.001)
    assert moves.catch_up == pytest.approx(0.050, abs=0.0005)
    assert moves.remaining_bps == pytest.approx(37.92, abs=0.005)
    assert of.holds


def test_worked_example_net_of_costs() -> None:
    costs = local_costs(since(moved()).remaining_bps, LEADER, FOLLOWER)
    assert costs.net_entry == pytest.approx(27.42, abs=0.005)
    assert costs.net_round == pytest.approx(16.92, abs=0.005)
    assert costs.two_leg == pytest.approx(-92.08, abs=0.005)


def test_an_unknown_spread_is_left_out_and_said_to_be_unknown() -> None:
    costs = local_costs(37.92, LEADER, replace(FOLLOWER, spread_bps=None))
    assert costs.spread is None
    assert costs.net_entry == pytest.approx(27.92)
    booked = replace(FOLLOWER.leg, bid=Decimal("99.99"), ask=Decimal("100.01"))
    assert local_costs(37.92, LEADER, replace(FOLLOWER, spread_bps=None, leg=booked)).spread == pytest.approx(2)


def test_each_window_has_its_own_least_move() -> None:
    section = CrossSection("BTC", START_MS, (LEADER, FOLLOWER))
    held = {e.window_s for e in evaluate(section) if e.holds}
    assert held == {15, 60}  # 39.92 is less than 40


def test_a_downward_move_mirrors_an_upward_one() -> None:
    leader = market("alpha", "BTC-USD", {-1: 64_256.0, 0: 64_000.0})
    follower = market("beta", "BTC-USD", {-1: 63_962.79, 0: 63_950.0})
    of = moved(leader, follower)
    assert (of.direction, of.holds) == ("down", True)
    assert since(of).remaining_bps == pytest.approx(37.92, abs=0.005)


@pytest.mark.parametrize(
    ("leader_change", "follower_price"),
    [
        ({"atr_bps": 50.0}, 63_962.79),  # z = 1.8
        ({}, 63_950.0 * 1.0021),  # catch-up above one half
    ],
)
def test_an_opening_condition_that_fails_holds_nothing_and_suppresses_nothing(
    leader_change: dict[str, Any], follower_price: float
) -> None:
    follower = market("beta", "BTC-USD", {-1: 63_950.0, 0: follower_price})
    of = moved(replace(LEADER, **leader_change), follower)
    assert (of.holds, of.suppressed) == (False, None)


def test_a_venue_that_catches_up_is_no_leader() -> None:
    early = market("beta", "BTC-USD", {-700: 64_000.0, -40: 64_256.0})
    late = market("alpha", "BTC-USD", {-700: 64_000.0, -1: 64_000.0, 0: 64_256.0})
    of = moved(late, early, 15)
    assert since(of).remaining_bps == pytest.approx(39.92, abs=0.005)
    assert not of.holds


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"health": Health(is_warming=True)}, Suppression.WARMING),
        ({"health": Health(gaps_open=2)}, Suppression.GAP_OPEN),
        ({"health": Health(is_identity_sure=False)}, Suppression.IDENTITY_UNSURE),
        ({"health": Health(is_halted=True)}, Suppression.SYMBOL_HALTED),
        ({"is_atr_converged": False}, Suppression.NOT_CONVERGED),
        ({"atr_bps": None}, Suppression.NOT_CONVERGED),
    ],
)
def test_a_good_candidate_is_held_back_with_a_reason(changes: dict[str, Any], reason: Suppression) -> None:
    of = moved(replace(LEADER, **changes))
    assert (of.holds, of.suppressed) == (False, reason)


def test_a_lone_small_trade_is_held_back() -> None:
    leader = replace(LEADER, last_trade_usd=500.0, trail=((START_MS - 61_000, 64_000.0), (START_MS, 64_256.0)))
    assert moved(leader).suppressed is Suppression.ONE_TRADE


def test_a_gap_of_a_different_coin_is_suspect() -> None:
    twin = market("beta", "BTC-USD", {-1: 1_598.75, 0: 1_598.75})
    assert moved(LEADER, twin).suppressed is Suppression.SUSPECT_GAP


def test_a_silent_follower_is_stale() -> None:
    silent = replace(FOLLOWER, trail=FOLLOWER.trail[:-10], leg=replace(FOLLOWER.leg, event_ms=START_MS - 10_000))
    of = moved(LEADER, silent)
    assert of.suppressed is of.broken is Suppression.STALE_FOLLOWER


def test_a_follower_without_a_price_one_window_ago_is_stale_then() -> None:
    young = replace(FOLLOWER, trail=FOLLOWER.trail[-30:])
    assert moved(LEADER, young).suppressed is Suppression.STALE_FOLLOWER


def test_a_silent_leader_that_has_moved_is_stale() -> None:
    silent = replace(LEADER, leg=replace(LEADER.leg, event_ms=START_MS - 6_000))
    assert moved(silent).suppressed is Suppression.STALE_LEADER


FOLLOWER_USDT = market("beta", "BTC-USDT", {-1: 64_001.2, 0: 64_014.0})


def test_a_mixed_pair_is_compared_in_dollars() -> None:
    of = moved(LEADER, FOLLOWER_USDT, 60, usdt_usd(0.9992))
    assert of.holds
    assert of.now
    assert of.now.follower == pytest.approx(64_014.0 * 0.9992)
    assert of.rates[1]
    assert of.rates[1].source == "median(alpha)"


def test_a_move_of_the_quote_is_not_a_move_of_the_asset() -> None:
    """USDT gains 30 bps: BTC-USDT falls by as much and nothing has happened in dollars."""
    leader = market("alpha", "BTC-USDT", {-30: 64_000.0, 0: 63_808.0})
    follower = market("beta", "BTC-USD", {0: 64_000.0})
    points = [(START_MS - 1_000 * s, 1.0 if s > 30 else 1.003) for s in range(600, -1, -1)]
    of = moved(leader, follower, 60, RateMarket("gamma", "USDT", "USD", points))
    assert not of.holds
    assert of.suppressed is None


def test_a_stale_basis_suppresses_mixed_pairs_only() -> None:
    stale = usdt_usd(0.9992, ago_s=61)
    mixed = moved(LEADER, FOLLOWER_USDT, 60, stale)
    assert (mixed.holds, mixed.suppressed, mixed.broken) == (False, *[Suppression.BASIS_STALE] * 2)
    assert moved(LEADER, FOLLOWER, 60, stale).holds
    in_usdt = market("alpha", "BTC-USDT", {-1: 64_000.0, 0: 64_256.0})
    assert moved(in_usdt, FOLLOWER_USDT, 60, stale).holds


def test_a_merged_usdc_book_is_in_dollars() -> None:
    merged = market("alpha", "BTC-USDC", {-1: 64_000.0, 0: 64_256.0}, leg={"is_usdc_usd": True})
    assert moved(merged, FOLLOWER).holds
    assert moved(replace(merged, leg=replace(merged.leg, is_usdc_usd=False))).suppressed is Suppression.BASIS_STALE


def test_a_quote_off_its_peg_doubles_the_threshold_and_further_off_suppresses() -> None:
    doubled = moved(LEADER, FOLLOWER_USDT, 60, usdt_usd(0.994))
    assert (doubled.thresholds.min_move_bps, doubled.thresholds.min_remaining_bps) == (40.0, 20.0)
    assert not doubled.holds
    assert moved(LEADER, FOLLOWER_USDT, 15, usdt_usd(0.994)).holds  # 39.92 ≥ 2 · 10
    assert moved(LEADER, FOLLOWER_USDT, 15, usdt_usd(0.979)).suppressed is Suppression.BASIS_DEPEG


def test_a_watched_identity_is_evaluated_even_when_nothing_moves() -> None:
    calm = market("alpha", "BTC-USD", {0: 64_000.0})
    section = CrossSection("BTC", START_MS, (calm, FOLLOWER))
    assert [e for e in evaluate(section) if e.leader.leg.exchange == "alpha"] == []
    watched = moved().identity
    assert [e.identity for e in evaluate(section, {watched})] == [watched]


def test_markets_of_one_exchange_are_no_pair() -> None:
    other = market("alpha", "BTC-USDT", {0: 64_000.0}, rank=2)
    assert evaluate(CrossSection("BTC", START_MS, (LEADER, other))) == []


def test_the_onset_is_when_the_leaders_move_reached_its_threshold() -> None:
    leader = market("alpha", "BTC-USD", {-20: 64_000.0, -12: 64_100.0, -7: 64_200.0, 0: 64_256.0})
    assert onset_ms(moved(leader)) == START_MS - 7_000  # 15.6 bps, then 31.2


def test_outcomes_in_their_order() -> None:
    of = moved()

    def ended(leader: float, follower: float, age_ms: int = 0, peak: float = 40.0) -> Outcome | None:
        figure = Figures(leader, follower, follower / leader, leader - follower)
        return outcome(figure, peak, age_ms, of)

    assert ended(40, 31) is None
    assert ended(40, 32) is Outcome.CONVERGED
    assert ended(20, 0) is None
    assert ended(19.9, 0) is Outcome.REVERSED
    assert ended(10, 10) is Outcome.REVERSED
    assert ended(40, 0, 180_000) is None
    assert ended(40, 0, 180_001) is Outcome.EXPIRED
    assert outcome(None, 40.0, 0, of) is Outcome.INVALIDATED
    stale = replace(of, broken=Suppression.STALE_LEADER)
    assert outcome(Figures(40, 40, 1, 0), 40.0, 0, stale) is Outcome.INVALIDATED


def test_the_cool_down_is_the_window_and_at_least_a_minute() -> None:
    assert [cool_down_ms(w) for w in (15, 60, 300)] == [60_000, 60_000, 300_000]
