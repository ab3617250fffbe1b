"""Average true range: plain, and informative, which takes bars without trades for no observation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from candles.indicators.bars import Bars
from candles.indicators.indicator import Choice
from candles.indicators.primitives import Line, informative_atr, rma, true_ranges
from candles.indicators.study import Study, length

COUNTED = "counted"
"""The first bar's range is its high less its low (indicators.md §3.1); elsewhere it is often left out."""


def plain_ranges(bars: Bars) -> Line:
    """True ranges that take every bar for observed: 0 where nobody traded."""
    return true_ranges(replace(bars, reasons=(None,) * len(bars)))


def _plain(bars: Bars, length: int, first_range: str) -> Sequence[Line]:
    ranges = plain_ranges(bars)
    if first_range != COUNTED and ranges:
        ranges[0] = None
    return (rma(ranges, length),)


def _informative(bars: Bars, length: int) -> Sequence[Line]:
    return (informative_atr(bars, length),)


INDICATORS = (
    Study(
        name="atr",
        title="Average true range (Wilder)",
        columns=("atr",),
        lines=_plain,
        warm_up=lambda length, first_range: length + (first_range != COUNTED),
        parameters={"length": length(14), "first_range": Choice((COUNTED, "left_out"))},
        fades=lambda length, first_range: length,
    ).indicator(),
    Study(
        name="atr-informative",
        title="Average true range of observed bars only",
        columns=("atr",),
        lines=_informative,
        warm_up=lambda length: length,
        parameters={"length": length(26)},
        fades=lambda length: length,
    ).indicator(),
)
