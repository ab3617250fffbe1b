"""Volume-weighted average price since the UTC day began."""

from __future__ import annotations

from collections.abc import Sequence

from candles.indicators.bars import Bars
from candles.indicators.primitives import Line
from candles.indicators.study import Study

DAY_MS = 86_400_000


def vwap(bars: Bars) -> Line:
    """Turnover over volume of the day so far: exact, where the turnover is known; else by (high+low+close)/3.

    None until the window has seen a day begin, and before the day's first trade.
    """
    line: Line = []
    day: int | None = None
    turnover = volume = 0.0
    for i, open_ms in enumerate(bars.open_ms):
        if open_ms // DAY_MS != day and (day is not None or open_ms % DAY_MS == 0):
            day, turnover, volume = open_ms // DAY_MS, 0.0, 0.0
        told = bars.turnover[i]
        price = (bars.high[i] + bars.low[i] + bars.close[i]) / 3
        turnover += price * bars.volume[i] if told is None else told
        volume += bars.volume[i]
        line.append(turnover / volume if day is not None and volume else None)
    return line


def _lines(bars: Bars) -> Sequence[Line]:
    return (vwap(bars),)


INDICATORS = (
    Study(
        name="vwap",
        title="Volume-weighted average price of the UTC day",
        columns=("vwap",),
        lines=_lines,
        # From the day's first bar on; a window of 300 holds the beginning of a day in every timeframe.
        warm_up=lambda: 1,
        parameters={},
    ).indicator(),
)
