"""Moving averages and true range, the primitives of every indicator (indicators.md §3.1, §3.3).

`None` means no value, never 0. In an input it means *no observation*: an average carries its last value
over it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from candles.indicators.bars import Bars

Values = Sequence[float | None]
Line = list[float | None]


def sma(values: Values, length: int) -> Line:
    """Mean of the last `length` observations; None before there are so many."""
    line: Line = []
    window: deque[float] = deque(maxlen=length)
    mean: float | None = None
    for value in values:
        if value is not None:
            window.append(value)
            if len(window) == length:
                mean = sum(window) / length
        line.append(mean)
    return line


def ema(values: Values, length: int, *, seeds_first: bool = False) -> Line:
    """Exponential mean, α = 2/(length+1), seeded with the mean of the first `length` observations.

    `seeds_first` starts from the first value instead, as Pine's `ta.ema` does.
    """
    return _smooth(values, 2.0 / (length + 1), 1 if seeds_first else length)


def rma(values: Values, length: int) -> Line:
    """Wilder's mean, α = 1/length, seeded with the mean of the first `length` observations."""
    return _smooth(values, 1.0 / length, length)


def _smooth(values: Values, alpha: float, seed_length: int) -> Line:
    line: Line = []
    append = line.append
    keep = 1.0 - alpha
    mean: float | None = None
    total, seen = 0.0, 0
    for value in values:
        if value is not None:
            if mean is not None:
                mean = alpha * value + keep * mean
            else:
                total += value
                seen += 1
                if seen == seed_length:
                    mean = total / seed_length
        append(mean)
    return line


def true_ranges(bars: Bars) -> Line:
    """TR of every observed bar; None on a synthetic one, which observes no range.

    The bar after a silent run measures from the run's flat close, the last traded price.
    """
    line: Line = []
    append = line.append
    previous: float | None = None
    for high, low, close, reason in zip(bars.high, bars.low, bars.close, bars.reasons, strict=True):
        if reason is not None:
            append(None)
        elif previous is None:
            append(high - low)
        else:
            # Of the three distances the largest runs from the outermost of high, low and previous close.
            append((high if high > previous else previous) - (low if low < previous else previous))
        previous = close
    return line


def informative_atr(bars: Bars, length: int) -> Line:
    """Wilder's ATR over observed bars only; carried over synthetic ones (the low-liquidity rule)."""
    return rma(true_ranges(bars), length)
