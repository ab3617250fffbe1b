"""How far and how strongly the price moves: momentum, rate of change, TRIX, CCI, balance of power, ultimate."""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum

from candles.indicators.atr import plain_ranges
from candles.indicators.bars import Bars
from candles.indicators.primitives import Line, Values, ema
from candles.indicators.study import Study, length


def change(values: Values, length: int) -> Line:
    """In per cent of the value so many bars before."""
    before = [*[None] * length, *values][: len(values)]
    return [None if a is None or not b else 100 * (a / b - 1) for a, b in zip(values, before, strict=True)]


def _momentum(bars: Bars, length: int) -> Sequence[Line]:
    before = [*[None] * length, *bars.close][: len(bars)]
    return ([None if then is None else now - then for now, then in zip(bars.close, before, strict=True)],)


def _change(bars: Bars, length: int) -> Sequence[Line]:
    return (change(bars.close, length),)


def _trix(bars: Bars, length: int) -> Sequence[Line]:
    return (change(ema(ema(ema(bars.close, length), length), length), 1),)


def _channel_index(bars: Bars, length: int) -> Sequence[Line]:
    typical = [(h + low + c) / 3 for h, low, c in zip(bars.high, bars.low, bars.close, strict=True)]
    line: Line = [None] * min(length - 1, len(bars))
    for end in range(length, len(bars) + 1):
        window = typical[end - length : end]
        mean = fsum(window) / length
        deviation = fsum(abs(price - mean) for price in window) / length
        line.append((typical[end - 1] - mean) / (0.015 * deviation) if deviation else None)
    return (line,)


def _balance(bars: Bars) -> Sequence[Line]:
    columns = zip(bars.open, bars.high, bars.low, bars.close, strict=True)
    return ([(c - o) / (h - low) if h > low else 0.0 for o, h, low, c in columns],)


def _ultimate(bars: Bars, short: int, middle: int, long: int) -> Sequence[Line]:
    ranges = [span or 0.0 for span in plain_ranges(bars)]
    lows = [min(low, before) for low, before in zip(bars.low[1:], bars.close, strict=False)]
    pressure = [0.0, *(close - low for close, low in zip(bars.close[1:], lows, strict=True))]
    longest = max(short, middle, long)
    line: Line = [None] * min(longest, len(bars))
    for end in range(longest + 1, len(bars) + 1):
        total = 0.0
        for weight, span in ((4, short), (2, middle), (1, long)):
            whole = fsum(ranges[end - span : end])
            total += weight * fsum(pressure[end - span : end]) / whole if whole else 0.0
        line.append(100 * total / 7)
    return (line,)


INDICATORS = (
    Study(
        name="mom",
        title="Momentum: move of the close",
        columns=("mom",),
        lines=_momentum,
        warm_up=lambda length: length + 1,
        parameters={"length": length(10)},
    ).indicator(),
    Study(
        name="roc",
        title="Rate of change of the close, per cent",
        columns=("roc",),
        lines=_change,
        warm_up=lambda length: length + 1,
        parameters={"length": length(10)},
    ).indicator(),
    Study(
        name="trix",
        title="Rate of change of a triple exponential average, per cent",
        columns=("trix",),
        lines=_trix,
        warm_up=lambda length: 3 * length - 1,
        parameters={"length": length(30)},
        fades=lambda length: 1.5 * (length + 1),
    ).indicator(),
    Study(
        name="cci",
        title="Commodity channel index",
        columns=("cci",),
        lines=_channel_index,
        warm_up=lambda length: length,
        parameters={"length": length(14, 2)},
    ).indicator(),
    Study(
        name="bop",
        title="Balance of power",
        columns=("bop",),
        lines=_balance,
        warm_up=lambda: 1,
        parameters={},
    ).indicator(),
    Study(
        name="ultosc",
        title="Ultimate oscillator",
        columns=("ultosc",),
        lines=_ultimate,
        warm_up=lambda short, middle, long: max(short, middle, long) + 1,
        parameters={"short": length(7), "middle": length(14), "long": length(28)},
    ).indicator(),
)
