"""VENUE_STALE and CONFLUENCE: what the others do (signals.md §4.3.7, §4.3.8)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from candles.signals import confluence, venue_stale
from candles.signals.evaluation import Evaluation
from candles.signals.reference import RateMarket
from candles.signals.section import CrossSection, Market
from tests.candles.market import START_MS, market


def silent(of: Market, since_s: int) -> Market:
    since_ms = START_MS - 1_000 * since_s
    leg = replace(of.leg, event_ms=since_ms, received_ms=since_ms + 40)
    return replace(of, leg=leg, trail=[point for point in of.trail if point[0] <= since_ms])


def stale(*markets: Market, rates: tuple[RateMarket, ...] = ()) -> list[Evaluation]:
    return venue_stale.evaluate(CrossSection("BTC", START_MS, markets, rates))


def moved(exchange: str, bps: float, ago_s: int = 10, quote: str = "USD", **changes: Any) -> Market:
    prices = {-ago_s - 1: 100.0, -ago_s: 100.0 * (1 + bps / 1e4)}
    return market(exchange, f"BTC-{quote}", prices, **changes)


STILL = silent(market("delta", "BTC-USD", {0: 100.0}), 20)


@pytest.mark.parametrize("bps", [25.0, -25.0])
def test_a_venue_that_is_silent_while_two_others_move(bps: float) -> None:
    (of,) = stale(moved("alpha", bps), moved("beta", 1.2 * bps), STILL)
    assert (of.holds, of.local.leg.exchange, of.leader.leg.exchange) == (True, "delta", "beta")
    assert of.size_bps == pytest.approx(27.5, abs=0.1)
    assert of.measures
    assert (of.measures["silent_ms"], of.measures["others"]) == (20_000, ["alpha:BTC-USD", "beta:BTC-USD"])


def test_one_other_or_a_small_or_contrary_move_is_not_enough() -> None:
    assert stale(moved("alpha", 40.0), STILL) == []
    assert stale(moved("alpha", 19.0), moved("beta", 19.0), STILL) == []
    assert stale(moved("alpha", 40.0), moved("beta", -40.0), STILL) == []


def test_a_venue_that_still_ticks_is_not_stale() -> None:
    assert stale(moved("alpha", 25.0), moved("beta", 25.0), market("delta", "BTC-USD", {0: 100.0})) == []


def test_a_tether_that_jumps_freezes_nobody() -> None:
    """G2: the tether markets move together because the tether does."""
    points = [(START_MS - 1_000 * s, 1.0 if s > 10 else 0.994) for s in range(400, -1, -1)]
    rates = (RateMarket("alpha", "USDT", "USD", points),)
    markets = [moved(name, 60.0, quote="USDT") for name in ("alpha", "beta")]
    assert stale(*markets, STILL, rates=rates) == []
    steady = (RateMarket("alpha", "USDT", "USD", [(at, 0.9992) for at, _ in points]),)
    assert len(stale(*markets, STILL, rates=steady)) == 1


def together(*markets: Market, rates: tuple[RateMarket, ...] = ()) -> list[Evaluation]:
    return confluence.evaluate(CrossSection("BTC", START_MS, markets, rates))


def test_three_of_five_within_two_minutes_in_the_order_of_their_times() -> None:
    names = {"alpha": 70, "beta": 30, "gamma": 50}
    markets = [moved(name, 25.0, ago_s) for name, ago_s in names.items()]
    (of,) = together(*markets, moved("delta", 0.0), moved("epsilon", 0.0))
    assert of.measures
    assert of.measures["venues"] == ["alpha", "gamma", "beta"]
    assert (of.holds, of.leader.leg.exchange) == (True, "alpha")
    assert confluence.RULES.onset_ms(of) == START_MS - 30_000


def test_two_are_enough_only_where_three_list_it() -> None:
    two = moved("alpha", 25.0), moved("beta", 25.0)
    assert len(together(*two, moved("gamma", 0.0))) == 1
    assert together(*two) == []
    assert together(*two, moved("gamma", 0.0), moved("delta", 0.0)) == []


def test_small_moves_contrary_moves_and_unknown_volatilities_do_not_count() -> None:
    assert together(moved("alpha", 19.0), moved("beta", 25.0), moved("gamma", -25.0)) == []
    assert together(moved("alpha", 25.0, is_atr_converged=False), moved("beta", 25.0), moved("gamma", 0.0)) == []


def test_longer_ago_than_two_minutes_is_another_move() -> None:
    markets = moved("alpha", 25.0, 10), moved("beta", 25.0, 185), moved("gamma", 0.0)
    assert together(*markets) == []
