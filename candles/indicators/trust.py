"""Which closed bars may raise an alert: the newest of a window, each with what speaks against it."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from itertools import accumulate

from candles.indicators.alerts import Bar
from candles.indicators.bars import Bars
from candles.indicators.indicator import CONVERGED_BARS
from candles.indicators.macdv import Lines
from livermore.core.candle import Candle, Quality, Reason

NO_CANDLE = -1
"""The revision of a bar that stands where no candle is: whatever comes is newer."""


class Doubt(StrEnum):
    """Why a bar must not raise an alert (indicators.md §3.5, 5)."""

    DATA_GAP = "data_gap"
    GAPPED = "gapped"
    UNCONVERGED = "unconverged"
    BAD_PRICE = "bad_price"


def watched(
    candles: Sequence[Candle], bars: Bars, of: Lines, since_ms: int, *, needs_converged: bool = True
) -> list[Bar]:
    """The bars from `since_ms` on, and at least the newest; each is judged by what lies before it in the window.

    `candles` are those that `bars` and its lines `of` were made from.
    """
    outages = [reason is Reason.OUTAGE for reason in bars.reasons]
    first_outage = outages.index(True) if True in outages else len(bars)
    observed = list(accumulate(reason is None for reason in bars.reasons))
    first = next((i for i, open_ms in enumerate(bars.open_ms) if open_ms >= since_ms), len(bars) - 1)
    of_open = {candle.open_ms: candle for candle in candles[-(len(bars) - first) :]}
    found = []
    for i in range(first, len(bars)):
        candle = of_open.get(bars.open_ms[i])
        doubt: Doubt | None = None
        if i >= first_outage:
            doubt = Doubt.DATA_GAP
        elif candle is not None and candle.quality is Quality.GAPPED:
            doubt = Doubt.GAPPED
        elif needs_converged and observed[i] < CONVERGED_BARS:
            doubt = Doubt.UNCONVERGED
        elif bars.close[i] <= 0:
            doubt = Doubt.BAD_PRICE
        revision = NO_CANDLE if candle is None else candle.revision
        found.append(Bar(bars.open_ms[i], revision, of.macdv[i], of.hist[i], None if doubt is None else str(doubt)))
    return found
