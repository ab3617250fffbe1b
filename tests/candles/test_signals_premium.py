"""PREMIUM: three lines, of which the last is what people mean (signals.md §4.3.5)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from candles.signals.evaluation import Direction, Evaluation
from candles.signals.guards import Suppression
from candles.signals.premium import evaluate, premium
from candles.signals.section import CrossSection
from candles.signals.standing import Standing
from tests.candles.market import START_MS, market
from tests.candles.test_signals_price_gap import rates


def evaluated(dollars: float, usdt: float = 0.9992, usual: Standing | None = None) -> list[Evaluation]:
    markets = (
        market("alpha", "BTC-USD", {0: dollars}, turnover_usd=9.0),
        market("delta", "BTC-USD", {0: 1.0}, turnover_usd=1.0),
        market("beta", "BTC-USDT", {0: 64_000.0}, turnover_usd=8.0),
    )
    known = {("alpha:BTC-USD", "beta:BTC-USDT"): usual or Standing(0.0, 2.0, 288)}
    return evaluate(CrossSection("BTC", START_MS, markets, rates(usdt), standings=known))


def test_a_cheap_tether_is_no_premium_exactly() -> None:
    """I18: r_USDT 0.995 and no real premium: raw −50.1, basis −50.1, adjusted 0."""
    of = premium(64_000 * 0.995, 64_000, 0.995)
    assert (f"{of.raw_bps:.1f}", f"{of.basis_bps:.1f}") == ("-50.1", "-50.1")
    assert of.adjusted_bps == pytest.approx(0.0, abs=1e-9)


def test_the_most_traded_markets_of_both_kinds_are_compared() -> None:
    (of,) = evaluated(64_000 * 0.9992 * 1.0015)
    assert (of.leader.leg.exchange, of.local.leg.exchange, of.direction) == ("alpha", "beta", Direction.UP)
    assert of.holds
    assert of.measures
    assert of.measures["adjusted_bps"] == pytest.approx(14.99, abs=0.01)
    assert of.measures["raw_bps"] == pytest.approx(14.99 - 8.00, abs=0.01)


def test_a_discount_points_down() -> None:
    (of,) = evaluated(64_000 * 0.9992 * 0.9985)
    assert (of.direction, of.holds, round(of.size_bps or 0)) == (Direction.DOWN, True, 15)


def test_both_thresholds_must_be_reached() -> None:
    assert not any(of.holds for of in evaluated(64_000 * 0.9992 * 1.0009))
    wide = Standing(0.0, 10.0, 288)
    assert not any(of.holds for of in evaluated(64_000 * 0.9992 * 1.0040, usual=wide))
    shifted = Standing(14.0, 2.0, 288)
    assert not any(of.holds for of in evaluated(64_000 * 0.9992 * 1.0015, usual=shifted))


def test_far_off_the_peg_it_is_suppressed_and_a_little_off_it_needs_twice_as_much() -> None:
    (of,) = evaluated(64_000 * 0.9700 * 1.0030, usdt=0.97)
    assert of.suppressed is Suppression.BASIS_DEPEG
    assert not any(of.holds for of in evaluated(64_000 * 0.9940 * 1.0015, usdt=0.994))
    assert any(of.holds for of in evaluated(64_000 * 0.9940 * 1.0025, usdt=0.994))


def test_a_stale_leg_breaks_it() -> None:
    markets = (market("alpha", "BTC-USD", {0: 64_100.0}), market("beta", "BTC-USDT", {0: 64_000.0}))
    stale = replace(markets[1], leg=replace(markets[1].leg, event_ms=START_MS - 40_000))
    known = {("alpha:BTC-USD", "beta:BTC-USDT"): Standing(0.0, 2.0, 288)}
    (of,) = evaluate(CrossSection("BTC", START_MS, (markets[0], stale), rates(), standings=known))
    assert of.suppressed is Suppression.STALE_FOLLOWER
