"""VENUE_STALE: one venue stands still while the others move; its other signals are not to be believed (§4.3.8)."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from statistics import median

from candles.signals import guards
from candles.signals.evaluation import (
    WAYS,
    Direction,
    Evaluation,
    Kind,
    Outcome,
    Rules,
    Thresholds,
    ended,
    told_onset_ms,
)
from candles.signals.moves import is_quote_steady, move_since_bps
from candles.signals.pair import View, view
from candles.signals.reference import usd_rates
from candles.signals.section import CrossSection, primary_markets

MOVED_BPS = 20.0
LEAST_OTHERS = 2
SPAN_S = 180
"""The others' moves are looked at no further back than this."""
AWAKE_MS = 5_000
COOL_DOWN_MS = 300_000
LIFETIME_MS = 3_600_000


def evaluate(section: CrossSection, watched: Collection[str] = ()) -> list[Evaluation]:
    """Every venue that is silent while two others or more move the same way."""
    views = [view(market, section.now_ms, ()) for market in primary_markets(section.markets)]
    rates = cache(lambda seconds_ago: usd_rates(section.rate_markets, section.now_ms - 1_000 * seconds_ago))
    trusted = [of for of in views if guards.of_market(of.market) is None]
    silent = [of for of in trusted if _is_silent(of) or any(f"others|{of.market.leg.key}|" in name for name in watched)]
    awake = [of for of in trusted if of.is_fresh] if silent else []
    steady = [of for of in awake if is_quote_steady(of, rates, SPAN_S)]
    found = [
        _evaluation(section, of, [other for other in steady if other is not of], direction)
        for of in silent
        for direction in WAYS
    ]
    return [of for of in found if of is not None and (of.holds or of.identity in watched)]


def _evaluation(section: CrossSection, of: View, others: list[View], direction: Direction) -> Evaluation | None:
    leg = of.market.leg
    silent_ms = of.at_ms - leg.event_ms
    since_ms = max(section.now_ms - silent_ms, section.now_ms - 1_000 * SPAN_S)
    moved = {o.market.leg.key: m for o in others if (m := _move(o, since_ms)) is not None}
    middle = direction.sign * median(moved.values()) if len(moved) >= LEAST_OTHERS else None
    is_silent = _is_silent(of)
    first = max(others, key=lambda o: direction.sign * moved.get(o.market.leg.key, 0.0), default=None)
    if first is None:
        return None
    return Evaluation(
        kind=Kind.VENUE_STALE,
        base=section.base,
        leader=first.market,
        follower=of.market,
        direction=direction,
        window_s=0,
        now_ms=section.now_ms,
        quoted=(first.quoted, of.quoted),
        now=None,
        before=None,
        sigma_bps=None,
        rates=(None, None),
        thresholds=Thresholds(named={"min_move_bps": MOVED_BPS, "max_age_ms": int(of.max_age_ms)}),
        holds=is_silent and middle is not None and middle >= MOVED_BPS,
        size_bps=0.0 if middle is None else middle,
        measures={
            "remaining_bps": middle, "silent_ms": silent_ms, "others": sorted(moved),
        },
        is_over=not is_silent,
        stays=is_silent,
        subject=("others", leg.key),
        onset=lambda: (leg.event_ms + int(of.max_age_ms)) // 1_000 * 1_000,
    )  # fmt: skip


def _is_silent(of: View) -> bool:
    return of.at_ms - of.market.leg.event_ms > of.max_age_ms


def _move(of: View, since_ms: int) -> float | None:
    return move_since_bps(of, since_ms + of.market.clock.offset_ms)


RULES = Rules(
    Kind.VENUE_STALE,
    evaluate,
    told_onset_ms,
    ended(LIFETIME_MS),
    cool_down_ms=lambda window_s: COOL_DOWN_MS,
    closing_ms={Outcome.CONVERGED: AWAKE_MS},
)
