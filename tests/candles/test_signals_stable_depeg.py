"""STABLE_DEPEG: notice, critical, and the long way back (signals.md §4.3.6)."""

from __future__ import annotations

import pytest

from candles.signals.evaluation import Direction
from candles.signals.reference import RateMarket
from candles.signals.section import CrossSection
from candles.signals.stable_depeg import RULES, evaluate
from tests.candles.market import START_MS, market


def section(value: float, since_s: int = 300) -> CrossSection:
    points = [(START_MS - 1_000 * s, 1.0 if s > since_s else value) for s in range(700, -1, -1)]
    rates = (RateMarket("alpha", "USDT", "USD", points),)
    return CrossSection("USDT", START_MS, (market("alpha", "USDT-USD", {0: value}),), rates)


@pytest.mark.parametrize(("value", "direction"), [(0.9940, Direction.DOWN), (1.0031, Direction.UP)])
def test_thirty_bps_off_is_a_notice_either_way(value: float, direction: Direction) -> None:
    (of,) = evaluate(section(value))
    assert (of.direction, of.holds, of.follower) == (direction, True, None)
    assert of.measures
    assert of.measures["severity"] == "notice"
    assert of.identity == f"STABLE_DEPEG|USDT|rate|usd|{direction}|60"


def test_a_hundred_bps_off_is_critical() -> None:
    (of,) = evaluate(section(0.99))
    assert of.measures
    assert of.measures["severity"] == "critical"


def test_within_thirty_bps_there_is_none() -> None:
    assert not any(of.holds for of in evaluate(section(0.9971)))


def test_it_is_over_within_twenty_bps() -> None:
    watched = {"STABLE_DEPEG|USDT|rate|usd|down|60"}
    assert [of.is_over for of in evaluate(section(0.9981), watched)] == [True]
    assert [of.is_over for of in evaluate(section(0.9979), watched)] == [False]


def test_it_began_when_the_rate_did() -> None:
    """The rate is a median of a minute, so it follows its market by half of one."""
    (of,) = evaluate(section(0.9940, since_s=200))
    assert abs(RULES.onset_ms(of) - (START_MS - 170_000)) <= 1_000


def test_without_a_dollar_market_nobody_can_say() -> None:
    assert evaluate(CrossSection("USDT", START_MS, (market("alpha", "USDT-EUR", {0: 0.9}),), ())) == []
