"""INDICATOR_LEAD and CONFLUENCE of bars: levels of MACD-V crossed on closed bars (signals.md §4.3.3, §4.3.7)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from candles.signals import confluence_bars, indicator_lead
from candles.signals.bars import BarMarket, BarSection, crossing
from candles.signals.guards import Suppression
from candles.signals.lifecycle import advance
from candles.signals.state import State
from tests.candles.market import START_MS, market

STEP_MS = 900_000
CALM = (-100.0,) * 9


def bar_market(exchange: str, values: Sequence[float], **changes: bool) -> BarMarket:
    macdv = {START_MS + STEP_MS * n: value for n, value in enumerate(values)}
    fields = {"is_converged": True, "is_tainted": False, **changes}
    return BarMarket(market(exchange, "BTC-USD", {0: 100.0}), macdv, **fields)


def play(rules, *markets: BarMarket, bars: range = range(4, 9)) -> list[tuple[str, str, int]]:  # type: ignore[no-untyped-def]
    """Bar after bar: (phase or outcome, leader, bar)."""
    states: dict[str, State] = {}
    told = []
    for number in bars:
        section = BarSection("BTC", "15m", STEP_MS, START_MS + STEP_MS * number, markets)
        taken = advance(rules, states, section)
        states = taken.states
        told += [(e.get("outcome", e["phase"]), e["leader"]["exchange"], number) for e in taken.events]
    return [of for of in told if of[0] != "updated"]


@pytest.mark.parametrize(
    ("before", "now", "level"),
    [
        (-149.0, -151.0, -150.0), (-149.0, -201.0, -200.0), (-150.0, -150.1, -150.0), (-151.0, -199.0, None),
        (150.0, 150.1, 150.0), (100.0, 410.0, 400.0), (160.0, 140.0, None), (-210.0, -140.0, None),
    ],
)  # fmt: skip
def test_the_deepest_level_crossed_outwards(before: float, now: float, level: float | None) -> None:
    """I7: −150 and −200 in one bar is −200; the way back crosses nothing."""
    assert crossing(before, now) == level


def test_i1_a_lead_that_the_follower_confirms() -> None:
    leader = bar_market("alpha", (-100, -100, -100, -100, -160, -170, -170, -170, -170))
    follower = bar_market("beta", (-100, -100, -100, -100, -120, -140, -155, -160, -160))
    found = play(indicator_lead.RULES, leader, follower)
    assert found == [("opened", "alpha", 4), ("converged", "alpha", 6)]


def test_i1_a_lead_that_nobody_confirms_expires_after_three_bars() -> None:
    leader = bar_market("alpha", (-100, -100, -100, -100, -160, -170, -170, -170, -170))
    assert play(indicator_lead.RULES, leader, bar_market("beta", CALM)) == [
        ("opened", "alpha", 4), ("expired", "alpha", 7),
    ]  # fmt: skip


def test_i2_a_follower_that_crossed_first_makes_no_event() -> None:
    leader = bar_market("alpha", (-100, -100, -100, -100, -160, -170, -170, -170, -170))
    follower = bar_market("beta", (-100, -100, -160, -165, -165, -165, -165, -165, -165))
    assert play(indicator_lead.RULES, leader, follower) == []


def test_a_shallower_crossing_of_the_follower_does_not_count() -> None:
    leader = bar_market("alpha", (-100, -100, -100, -100, -210, -210, -210, -210, -210))
    follower = bar_market("beta", (-100, -100, -100, -160, -170, -180, -205, -205, -205))
    found = play(indicator_lead.RULES, leader, follower)
    assert found == [("opened", "alpha", 4), ("converged", "alpha", 6)]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"is_converged": False}, Suppression.NOT_CONVERGED), ({"is_tainted": True}, Suppression.GAP_OPEN)],
)
def test_what_is_not_converged_or_has_a_gap_is_held_back(changes: dict[str, bool], reason: Suppression) -> None:
    leader = bar_market("alpha", (-100, -100, -100, -100, -160), **changes)
    section = BarSection("BTC", "15m", STEP_MS, START_MS + 4 * STEP_MS, (leader, bar_market("beta", CALM)))
    (of,) = indicator_lead.evaluate(section)
    assert (of.holds, of.suppressed) == (False, reason)


def test_a_follower_whose_bar_is_missing_is_waited_for() -> None:
    leader, follower = bar_market("alpha", (-100, -100, -100, -100, -160)), bar_market("beta", CALM[:4])
    (of,) = indicator_lead.evaluate(BarSection("BTC", "15m", STEP_MS, START_MS + 4 * STEP_MS, (leader, follower)))
    assert of.suppressed is Suppression.STALE_FOLLOWER


def test_three_of_five_on_adjacent_bars_are_a_confluence() -> None:
    sooner = (-100, -100, -100, -100, -160, -170, -170, -170, -170)
    later = (-100, -100, -100, -100, -120, -160, -170, -170, -170)
    markets = [bar_market("alpha", later), bar_market("beta", sooner), bar_market("gamma", later)]
    calm = [bar_market("delta", CALM), bar_market("epsilon", CALM)]
    assert play(confluence_bars.RULES, *markets, *calm) == [("opened", "beta", 5), ("expired", "beta", 8)]
    assert play(confluence_bars.RULES, *markets[:2], *calm) == []
    assert play(confluence_bars.RULES, *markets[:2]) == []
