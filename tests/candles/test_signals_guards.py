"""Every guard decides by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from candles.signals import guards
from candles.signals.guards import Suppression
from candles.signals.reference import Rate
from candles.signals.section import Clock, Health
from tests.candles.market import START_MS, market

GOOD = market("alpha", "BTC-USD", {0: 100.0})


def test_the_reasons_of_the_specification_exist() -> None:
    assert {str(s) for s in Suppression} == {
        "stale_leader", "stale_follower", "basis_stale", "basis_depeg", "clock_uncertain", "gap_open",
        "not_converged", "symbol_halted", "identity_unsure", "suspect_gap", "below_cost", "muted",
        "rate_capped", "warming", "one_trade",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("health", "reason"),
    [
        (Health(), None),
        (Health(is_halted=True), Suppression.SYMBOL_HALTED),
        (Health(is_warming=True), Suppression.WARMING),
        (Health(is_identity_sure=False), Suppression.IDENTITY_UNSURE),
        (Health(gaps_open=1), Suppression.GAP_OPEN),
    ],
)
def test_doubts_about_a_market(health: Health, reason: Suppression | None) -> None:
    assert guards.of_market(replace(GOOD, health=health)) is reason


def test_a_clock_is_uncertain_beyond_250_ms() -> None:
    assert not guards.is_clock_uncertain(replace(GOOD, clock=Clock(0, 250)))
    assert guards.is_clock_uncertain(replace(GOOD, clock=Clock(0, 251)))


def test_a_price_that_arrives_before_it_was_made_shows_a_wrong_clock() -> None:
    early = replace(GOOD, leg=replace(GOOD.leg, received_ms=START_MS - 251))
    assert guards.is_clock_uncertain(early)
    assert not guards.is_clock_uncertain(replace(early, clock=Clock(offset_ms=200)))


def test_pegs() -> None:
    assert not guards.is_depegged([Rate(0.9951, "x", 0), None])
    assert guards.is_depegged([None, Rate(0.9949, "x", 0)])
    assert guards.is_depegged([Rate(1.0201, "x", 0)], guards.DEPEG_LIMIT_BPS)


def test_a_gap_beyond_500_bps_is_suspect() -> None:
    assert not guards.is_suspect(-499.9)
    assert guards.is_suspect(-500.1)


def test_one_small_trade_is_no_move() -> None:
    two = replace(GOOD, trail=((START_MS - 90_000, 100.0), (START_MS, 101.0)))
    since_ms = START_MS - 60_000
    assert guards.is_one_trade(replace(two, last_trade_usd=999.0), since_ms)
    assert not guards.is_one_trade(replace(two, last_trade_usd=1_000.0), since_ms)
    assert not guards.is_one_trade(two, since_ms)  # worth unknown
    assert not guards.is_one_trade(replace(GOOD, last_trade_usd=1.0), since_ms)  # many seconds of trades
