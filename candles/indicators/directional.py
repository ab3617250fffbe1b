"""Wilder's directional movement: +DI, −DI, DX, ADX, ADXR."""

from __future__ import annotations

from collections.abc import Sequence

from candles.indicators.atr import plain_ranges
from candles.indicators.bars import Bars
from candles.indicators.primitives import Line, Values, rma
from candles.indicators.study import Study, length


def _movements(bars: Bars) -> tuple[list[float], list[float]]:
    """How far each bar reached above and below the one before; only the greater of the two counts."""
    up, down = [0.0] * min(1, len(bars)), [0.0] * min(1, len(bars))
    for i in range(1, len(bars)):
        rise, fall = bars.high[i] - bars.high[i - 1], bars.low[i - 1] - bars.low[i]
        up.append(rise if rise > fall and rise > 0 else 0.0)
        down.append(fall if fall > rise and fall > 0 else 0.0)
    return up, down


def _wilders_sum(values: Values, length: int) -> Line:
    """Running total that forgets a `length`-th of itself; begins with the `length` - 1 moves after the first bar."""
    line: Line = [None] * min(length, len(values))
    total = sum(value or 0.0 for value in values[1:length])
    for value in values[length:]:
        total += (value or 0.0) - total / length
        line.append(total)
    return line


def _index(moves: Line, ranges: Line) -> Line:
    return [None if m is None or not r else 100 * m / r for m, r in zip(moves, ranges, strict=True)]


def directional(bars: Bars, length: int) -> Sequence[Line]:
    """The five lines. Where neither side moved DX stays what it was."""
    up, down = _movements(bars)
    ranges = _wilders_sum(plain_ranges(bars), length)
    plus, minus = _index(_wilders_sum(up, length), ranges), _index(_wilders_sum(down, length), ranges)
    dx: Line = []
    for above, below in zip(plus, minus, strict=True):
        if above is None or below is None or not above + below:
            dx.append(dx[-1] if dx else None)
        else:
            dx.append(100 * abs(above - below) / (above + below))
    adx = rma(dx, length)
    earlier = [*[None] * (length - 1), *adx][: len(adx)]
    adxr = [None if a is None or b is None else (a + b) / 2 for a, b in zip(adx, earlier, strict=True)]
    return plus, minus, dx, adx, adxr


INDICATORS = (
    Study(
        name="dmi",
        title="Directional movement (Wilder)",
        columns=("plus_di", "minus_di", "dx", "adx", "adxr"),
        lines=directional,
        warm_up=lambda length: 3 * length - 1,
        parameters={"length": length(14, 2)},
        fades=lambda length: 2 * length,
    ).indicator(),
)
