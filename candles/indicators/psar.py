"""Wilder's parabolic stop and reverse."""

from __future__ import annotations

from collections.abc import Sequence

from candles.indicators.bars import Bars
from candles.indicators.indicator import Number
from candles.indicators.primitives import Line
from candles.indicators.study import Study


def parabolic(bars: Bars, step: float, most: float) -> Line:
    """The stop of each bar from the second on: below a rising price, above a falling one.

    A fall is a rise upside down: while it falls, prices are taken with the other sign.
    """
    line: Line = [None] * min(1, len(bars))
    if len(bars) < 2:
        return line
    fall, rise = bars.low[0] - bars.low[1], bars.high[1] - bars.high[0]
    sign = -1.0 if fall > 0 and fall > rise else 1.0
    low, high = _sides(bars, 0, sign)[0], _sides(bars, 1, sign)[1]
    stop, extreme, speed = low, high, step
    before = _sides(bars, 1, sign)
    for i in range(1, len(bars)):
        now = _sides(bars, i, sign)
        if now[0] <= stop:
            sign, stop, before, now = -sign, -extreme, (-before[1], -before[0]), (-now[1], -now[0])
            stop = min(stop, before[0], now[0])
            line.append(sign * stop)
            extreme, speed = now[1], step
        else:
            line.append(sign * stop)
            if now[1] > extreme:
                extreme, speed = now[1], min(speed + step, most)
        stop = min(stop + speed * (extreme - stop), before[0], now[0])
        before = now
    return line


def _sides(bars: Bars, i: int, sign: float) -> tuple[float, float]:
    """Low and high of a bar; upside down where the sign is negative."""
    return (bars.low[i], bars.high[i]) if sign > 0 else (-bars.high[i], -bars.low[i])


def _lines(bars: Bars, step: float, most: float) -> Sequence[Line]:
    return (parabolic(bars, step, most),)


INDICATORS = (
    Study(
        name="psar",
        title="Parabolic stop and reverse",
        columns=("psar",),
        lines=_lines,
        warm_up=lambda step, most: 2,
        parameters={"step": Number(0.02, 0.001, 1.0), "most": Number(0.2, 0.001, 1.0)},
        # A turn or two forgets how it began.
        fades=lambda step, most: 1,
    ).indicator(),
)
