"""PRICE_GAP: the worked example of signals.md §4.3.2, its thresholds, and what holds it back."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from candles.signals.evaluation import Evaluation, Figures
from candles.signals.event import Phase, event
from candles.signals.guards import Suppression
from candles.signals.price_gap import RULES, bounds, evaluate
from candles.signals.reference import RateMarket
from candles.signals.section import CrossSection, Health, Market
from candles.signals.standing import Standing
from tests.candles.market import START_MS, market

USUAL = Standing(0.0, 2.0, 288)


def rates(value: float = 0.9992, newest: float | None = None) -> tuple[RateMarket, ...]:
    points = [(START_MS - 1_000 * s, value) for s in range(400, 0, -1)]
    return (RateMarket("alpha", "USDT", "USD", [*points, (START_MS, newest or value)]),)


def pair_of(rich: float = 64_300.0, poor: float = 64_150.0, **changes: Any) -> tuple[Market, Market]:
    return (
        market("alpha", "BTC-USD", {0: rich}, taker_bps=120.0, **changes),
        market("beta", "BTC-USDT", {0: poor}, spread_bps=1.0),
    )


def evaluated(markets: tuple[Market, ...], usual: Standing | None = USUAL, **more: Any) -> list[Evaluation]:
    names = markets[0].leg.key, markets[1].leg.key
    known = {} if usual is None else {names: usual, names[::-1]: usual.turned}
    section = CrossSection("BTC", START_MS, markets, **{"rate_markets": rates(), "standings": known, **more})
    return evaluate(section)


def test_the_worked_example_of_quote_normalisation_exactly() -> None:
    """§4.2: 64,210.00 against 64,150.00 at 0.9992 is 17.37 bps, unnormalised 9.35."""
    section = CrossSection("BTC", START_MS, pair_of(64_210.0), rates(), standings={})
    watched = {"PRICE_GAP|BTC|alpha:BTC-USD|beta:BTC-USDT|up|0"}
    (of,) = evaluate(section, watched)
    assert of.measures
    assert f"{of.measures['gap_bps_normalised']:.2f}" == "17.37"
    assert f"{of.size_bps:.2f}" == "17.35"
    assert f"{of.measures['gap_bps_raw']:.2f}" == "9.35"


@pytest.mark.parametrize(("taker", "two_leg"), [(120.0, "-112.95"), (10.0, "-2.95")])
def test_the_worked_example_of_the_executable_side_exactly(taker: float, two_leg: str) -> None:
    """§4.3.2: 64,209 / (64,151 · 0.9992) → 17.05 bps; −112.95 with 120 + 10, −2.95 with 10 + 10."""
    book = {"bid": Decimal("64209"), "ask": Decimal("64211"), "book_ms": START_MS}
    rich = market("alpha", "BTC-USD", {0: 64_210.0}, taker_bps=taker, leg=book)
    book = {"bid": Decimal("64149"), "ask": Decimal("64151"), "book_ms": START_MS}
    poor = market("beta", "BTC-USDT", {0: 64_150.0}, leg=book)
    section = CrossSection("BTC", START_MS, (rich, poor), rates())
    (of,) = evaluate(section, {"PRICE_GAP|BTC|alpha:BTC-USD|beta:BTC-USDT|up|0"})
    made = event(of, Figures(17.35, 0.0, None, 17.35), Phase.OPENED, "id", 0)
    assert made["metrics"]["exec_gap_bps"] == "17.05"
    assert made["costs"]["two_leg_bps"] == two_leg
    assert made["costs"]["net_entry_bps"] == f"{17.35 - 10 - 0.5 * 2e4 * 2 / (64_149 + 64_151):.2f}"


def test_it_opens_from_25_bps_or_four_sigmas_or_the_pairs_own_p99() -> None:
    assert bounds(USUAL).enter_bps == 25.0
    assert bounds(Standing(0.0, 10.0, 288)).enter_bps == pytest.approx(4 * 14.826)
    assert bounds(Standing(0.0, 2.0, 288, p99_bps=31.0)).enter_bps == 31.0
    assert bounds(Standing(0.0, 2.0, 288, p99_bps=12.0)).enter_bps == 25.0
    assert bounds(USUAL, factor=2.0).enter_bps == 50.0


def test_it_closes_at_ten_bps_or_one_and_a_half_sigmas() -> None:
    assert bounds(USUAL).exit_bps == 10.0
    assert bounds(Standing(0.0, 10.0, 288)).exit_bps == pytest.approx(1.5 * 14.826)


def test_a_usual_gap_is_none_and_its_absence_is_one_the_other_way() -> None:
    usual = Standing(31.4, 2.0, 288)
    assert not evaluated(pair_of(), usual)
    (of,) = evaluated(pair_of(64_098.68), usual)
    assert (of.leader.leg.exchange, of.holds) == ("beta", True)


def test_half_way_into_its_threshold_it_only_stays() -> None:
    (of,) = evaluated(pair_of(64_098.68 * 1.0022))
    assert (of.holds, of.stays) == (False, True)


@pytest.mark.parametrize(
    ("more", "usual", "reason"),
    [
        ({"rate_markets": rates(0.9960)}, USUAL, Suppression.BASIS_DEPEG),
        ({"rate_markets": rates(newest=0.9970)}, USUAL, Suppression.BASIS_DEPEG),
        ({"off_peg": frozenset({"USDT"})}, USUAL, Suppression.BASIS_DEPEG),
        ({}, None, Suppression.NOT_CONVERGED),
    ],
)
def test_what_speaks_against_it(more: dict[str, Any], usual: Standing | None, reason: Suppression) -> None:
    found = evaluated(pair_of(64_500.0), usual, **more)
    assert [of.suppressed for of in found if not of.holds] == [reason] * len(found)


def test_a_venue_that_stands_still_suppresses_it() -> None:
    rich, poor = pair_of()
    frozen = replace(poor, health=Health(is_frozen=True))
    (of,) = evaluated((rich, frozen))
    assert (of.suppressed, of.broken) == (Suppression.STALE_FOLLOWER, Suppression.STALE_FOLLOWER)


def test_beyond_500_bps_it_is_suspect() -> None:
    (of,) = evaluated(pair_of(64_150.0 * 1.06))
    assert of.suppressed is Suppression.SUSPECT_GAP


def test_without_a_rate_there_is_no_figure_at_all() -> None:
    assert not evaluated(pair_of(), rate_markets=())


def test_it_begins_in_the_second_since_which_it_stands_there() -> None:
    rich = market("alpha", "BTC-USD", {-99: 64_098.68, -40: 64_300.0})
    for now_ms in (START_MS, START_MS + 700):
        usual = {("alpha:BTC-USD", "beta:BTC-USDT"): USUAL}
        (of,) = evaluate(CrossSection("BTC", now_ms, (rich, pair_of()[1]), rates(), standings=usual))
        assert RULES.onset_ms(of) == START_MS - 40_000
