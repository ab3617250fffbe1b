"""What the witnesses say of a folded bucket: its quality, and whether something must be fetched."""

from __future__ import annotations

from dataclasses import dataclass

from candles.fold import Folded
from livermore.core.candle import Quality, Reason


@dataclass(frozen=True, slots=True)
class Witnesses:
    """What is known beside the trades themselves.

    `is_consecutive`: the venue numbers its trades +1. `last_before` and `first_after` are the ids at the
    neighbouring buckets' near borders, where known. `is_covered`: the stream ran without interruption from
    the bucket's open to its end. `has_open_gap`: a gap that nothing has closed touches the bucket. `doubted`
    trades were left out of the fold.
    """

    is_consecutive: bool
    last_before: int | None
    first_after: int | None
    is_covered: bool
    has_open_gap: bool
    doubted: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """`has_hole`: ids or doubts show that trades of this bucket are missing; the venue must be asked."""

    quality: Quality
    reason: Reason | None
    has_hole: bool


def judge(folded: Folded | None, witnesses: Witnesses) -> Verdict:
    """Weigh the witnesses; ids, where they are consecutive, outrank what we know of our own connection."""
    if folded is None:
        return _without_trades(witnesses)
    if witnesses.doubted and folded.confirmed < folded.trades:
        return Verdict(Quality.GAPPED, None, True)
    if witnesses.is_consecutive and folded.first_id is not None and folded.last_id is not None:
        before, after = witnesses.last_before, witnesses.first_after
        has_hole = (
            not folded.is_unbroken
            or (before is not None and before + 1 < folded.first_id)
            or (after is not None and folded.last_id + 1 < after)
        )
        # A hole that the venue's own history has too is not a loss.
        if has_hole and folded.confirmed < folded.trades:
            return Verdict(Quality.GAPPED, None, True)
        if not has_hole and before is not None and after is not None:
            return Verdict(Quality.PROVEN, None, False)
    if witnesses.has_open_gap or not witnesses.is_covered:
        return Verdict(Quality.GAPPED, None, False)
    return Verdict(Quality.CLEAN, None, False)


def _without_trades(witnesses: Witnesses) -> Verdict:
    before, after = witnesses.last_before, witnesses.first_after
    is_skipped = witnesses.is_consecutive and before is not None and after is not None and before + 1 < after
    if witnesses.doubted or is_skipped:
        return Verdict(Quality.GAPPED, Reason.OUTAGE, True)
    is_proven_quiet = witnesses.is_consecutive and before is not None and after == before + 1
    if is_proven_quiet or (witnesses.is_covered and not witnesses.has_open_gap):
        return Verdict(Quality.EMPTY, Reason.NO_TRADES, False)
    return Verdict(Quality.GAPPED, Reason.OUTAGE, False)
