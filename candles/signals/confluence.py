"""CONFLUENCE: an asset moves the same way at most of its venues within two minutes (signals.md §4.3.7)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from math import sqrt
from statistics import median

from candles.signals import guards
from candles.signals.evaluation import (
    WAYS,
    Direction,
    Evaluation,
    Figures,
    Kind,
    Outcome,
    Rules,
    Thresholds,
    told_onset_ms,
)
from candles.signals.moves import is_quote_steady, most_bps, move_since_bps, moves_bps
from candles.signals.pair import RatesAgo, View, view
from candles.signals.reference import usd_rates
from candles.signals.section import CrossSection, primary_markets

MIN_Z, WINDOW_S, WITHIN_S = 1.5, 60, 120
VENUES, VENUES_OF_FEW, FEW = 3, 2, 3
KEPT_SHARE = 0.5
COOL_DOWN_MS = LIFETIME_MS = 300_000
ATR_WINDOW_S = 300


@dataclass(frozen=True, slots=True)
class Showing:
    """A venue that shows the move, and since when (our clock)."""

    view: View
    at_ms: int


def evaluate(section: CrossSection, watched: Collection[str] = ()) -> list[Evaluation]:
    """Each direction that enough venues show, and every watched one."""
    views = [view(market, section.now_ms, ()) for market in primary_markets(section.markets)]
    if len(views) < FEW:
        return []
    rates = cache(lambda seconds_ago: usd_rates(section.rate_markets, section.now_ms - 1_000 * seconds_ago))
    needed = VENUES_OF_FEW if len(views) == FEW else VENUES
    found = []
    for direction in WAYS:
        showing = sorted(_showing(views, rates, direction), key=lambda s: (s.at_ms, s.view.market.leg.key))
        of = _evaluation(section, views, showing, direction, holds=len(showing) >= needed)
        found += [of] if of.holds or of.identity in watched else []
    return found


def _showing(views: Sequence[View], rates: RatesAgo, direction: Direction) -> list[Showing]:
    found = []
    for of in views:
        atr = of.market.atr_bps
        if not atr or not of.market.is_atr_converged or not of.is_fresh or guards.of_market(of.market):
            continue
        sigma, from_ms = atr * sqrt(WINDOW_S / ATR_WINDOW_S), of.at_ms - 1_000 * WITHIN_S
        if most_bps(of, from_ms - 1_000 * WINDOW_S) < MIN_Z * sigma:
            continue
        moves = moves_bps(of, WINDOW_S, from_ms)
        first = next((at for at, move in moves if direction.sign * move >= MIN_Z * sigma), None)
        if first is not None and is_quote_steady(of, rates, WINDOW_S + WITHIN_S):
            found.append(Showing(of, first - of.market.clock.offset_ms))
    return found


def _evaluation(
    section: CrossSection, views: Sequence[View], showing: list[Showing], direction: Direction, *, holds: bool
) -> Evaluation:
    first = (showing[0].view if showing else views[0]).market
    # In the terms of one venue from beginning to end, whoever shows the move at the moment.
    local = max(views, key=lambda of: (of.market.turnover_usd, of.market.leg.key))
    onset = max((of.at_ms for of in showing[:VENUES]), default=section.now_ms)
    return Evaluation(
        kind=Kind.CONFLUENCE,
        base=section.base,
        leader=first,
        follower=local.market,
        direction=direction,
        window_s=WINDOW_S,
        now_ms=section.now_ms,
        quoted=(first.leg.price, local.quoted),
        now=None,
        before=None,
        sigma_bps=None,
        rates=(None, None),
        thresholds=Thresholds(named={"z": MIN_Z, "within_s": WITHIN_S, "venues": VENUES}),
        holds=holds,
        size_bps=0.0,
        measures={
            "remaining_bps": None,
            "venues": [of.view.market.leg.exchange for of in showing],
            "seen_ms": [str(of.at_ms) for of in showing],
        },
        is_over=_is_kept(views, direction),
        subject=("venues", "venues"),
        onset=lambda: onset // 1_000 * 1_000,
    )  # fmt: skip


def _is_kept(views: Sequence[View], direction: Direction) -> bool:
    """Does half of the move still stand, at the median venue, since before it began?"""
    shares = []
    for of in views:
        move, atr = move_since_bps(of, of.at_ms - LIFETIME_MS - 1_000 * WINDOW_S), of.market.atr_bps
        if move is not None and atr:
            shares.append(direction.sign * move / (atr * sqrt(WINDOW_S / ATR_WINDOW_S)))
    return bool(shares) and median(shares) >= KEPT_SHARE * MIN_Z


def outcome(since: Figures | None, peak_bps: float, age_ms: int, of: Evaluation) -> Outcome | None:
    """It fires once and is graded five minutes later: did the move last?"""
    if age_ms < LIFETIME_MS:
        return None
    return Outcome.CONVERGED if of.is_over else Outcome.REVERSED


RULES = Rules(
    Kind.CONFLUENCE, evaluate, told_onset_ms, outcome,
    cool_down_ms=lambda window_s: COOL_DOWN_MS, confirmation_ms=0, fires_once=True,
)  # fmt: skip
