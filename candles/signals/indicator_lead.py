"""INDICATOR_LEAD: MACD-V crossed a level on one venue, and on another not yet (signals.md §4.3.3)."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import permutations

from candles.signals.bars import BarMarket, BarSection
from candles.signals.evaluation import (
    Direction,
    Evaluation,
    Figures,
    Kind,
    Outcome,
    Rules,
    Thresholds,
    told_onset_ms,
)

WITHIN_BARS = 3
"""The follower's bars t−2…t decide whether it was first, t+1…t+3 whether it confirms."""


def evaluate(section: BarSection, watched: Collection[str] = ()) -> list[Evaluation]:
    """Every pair whose leader crossed in this bar or is being followed."""
    pairs = permutations(section.markets, 2)
    found = [of for leader, follower in pairs for of in _evaluations(section, leader, follower)]
    return [of for of in found if of.holds or of.suppressed or of.identity in watched]


def _evaluations(section: BarSection, leader: BarMarket, follower: BarMarket) -> Iterator[Evaluation]:
    step = section.timeframe_ms
    for ago in range(WITHIN_BARS, -1, -1):
        open_ms = section.open_ms - ago * step
        level = leader.crossed(open_ms, step)
        if level is None or has_crossed(follower, level, open_ms - 2 * step, open_ms, step):
            continue
        doubt = leader.doubt(is_leader=True, open_ms=open_ms) or follower.doubt(is_leader=False, open_ms=open_ms)
        is_new = ago == 0
        yield Evaluation(
            kind=Kind.INDICATOR_LEAD,
            base=section.base,
            leader=leader.market,
            follower=follower.market,
            direction=Direction.UP if level > 0 else Direction.DOWN,
            window_s=step // 1_000,
            timeframe=section.timeframe,
            now_ms=section.now_ms,
            quoted=(leader.market.leg.price, follower.market.leg.price),
            now=None,
            before=None,
            sigma_bps=None,
            rates=(None, None),
            thresholds=Thresholds(named={"level": level, "bars": WITHIN_BARS}),
            holds=is_new and doubt is None,
            suppressed=doubt if is_new else None,
            size_bps=0.0,
            measures={
                "remaining_bps": None, "level": level, "bar_open_ms": open_ms,
                "macdv_leader": leader.macdv.get(section.open_ms),
                "macdv_follower": follower.macdv.get(section.open_ms),
            },
            is_over=has_crossed(follower, level, open_ms + step, section.open_ms, step),
            onset=lambda: section.now_ms,
        )  # fmt: skip
        return


def has_crossed(of: BarMarket, level: float, from_ms: int, to_ms: int, step_ms: int) -> bool:
    """Did it cross this level or a deeper one, the same way, in one of these bars?"""
    found = (of.crossed(open_ms, step_ms) for open_ms in range(from_ms, to_ms + 1, step_ms))
    return any(other is not None and other * level > 0 and abs(other) >= abs(level) for other in found)


def outcome(since: Figures | None, peak_bps: float, age_ms: int, of: Evaluation) -> Outcome | None:
    """`converged` is a lead that was confirmed."""
    if of.is_over:
        return Outcome.CONVERGED
    return Outcome.EXPIRED if age_ms >= 1_000 * of.window_s * WITHIN_BARS else None


RULES = Rules(
    Kind.INDICATOR_LEAD, evaluate, told_onset_ms, outcome,
    cool_down_ms=lambda window_s: 1_000 * window_s, confirmation_ms=0,
)  # fmt: skip
