"""Moving averages of the close."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import fsum

from candles.indicators.bars import Bars
from candles.indicators.primitives import Line, Values, ema, rma, sma
from candles.indicators.study import Study, length

LENGTH = 30


def wma(values: Sequence[float], length: int) -> Line:
    """Mean whose weights fall linearly from the newest value to nothing."""
    weights, whole = range(1, length + 1), length * (length + 1) / 2
    line: Line = [None] * min(length - 1, len(values))
    for end in range(length, len(values) + 1):
        line.append(fsum(w * v for w, v in zip(weights, values[end - length : end], strict=True)) / whole)
    return line


def dema(values: Values, length: int) -> Line:
    """Twice the exponential mean less the exponential mean of it: half the lag."""
    once = ema(values, length)
    twice = ema(once, length)
    return [None if a is None or b is None else 2 * a - b for a, b in zip(once, twice, strict=True)]


def tema(values: Values, length: int) -> Line:
    """The same to the third degree."""
    once = ema(values, length)
    twice = ema(once, length)
    thrice = ema(twice, length)
    return [
        None if a is None or b is None or c is None else 3 * a - 3 * b + c
        for a, b, c in zip(once, twice, thrice, strict=True)
    ]


def trima(values: Values, length: int) -> Line:
    """Mean whose weights rise to the middle of the window and fall again: a mean of means."""
    half = (length + 1) // 2
    return sma(sma(values, half), length + 1 - half)


def kama(values: Sequence[float], length: int, fast: int, slow: int) -> Line:
    """Kaufman's mean: quick where the price goes straight, slow where it wavers; starts from the close before."""
    line: Line = [None] * min(length, len(values))
    quickest, slowest = 2 / (fast + 1), 2 / (slow + 1)
    mean = values[length - 1] if len(values) >= length else 0.0
    for i in range(length, len(values)):
        way = fsum(abs(values[k] - values[k - 1]) for k in range(i - length + 1, i + 1))
        straight = abs(values[i] - values[i - length])
        efficiency = straight / way if way else 1.0
        mean += (efficiency * (quickest - slowest) + slowest) ** 2 * (values[i] - mean)
        line.append(mean)
    return line


def _of_close(
    name: str,
    title: str,
    mean: Callable[[Sequence[float], int], Line],
    warm_up: Callable[[int], int],
    fades: Callable[[int], float],
) -> Study:
    def lines(bars: Bars, length: int) -> Sequence[Line]:
        return (mean(bars.close, length),)

    return Study(
        name=name,
        title=title,
        columns=(name,),
        lines=lines,
        warm_up=lambda length: warm_up(length),
        parameters={"length": length(LENGTH)},
        fades=lambda length: fades(length),
    )


def _kama(bars: Bars, length: int, fast: int, slow: int) -> Sequence[Line]:
    return (kama(bars.close, length, fast, slow),)


INDICATORS = tuple(
    study.indicator()
    for study in (
        _of_close("sma", "Simple moving average", sma, lambda n: n, lambda n: 0),
        _of_close("ema", "Exponential moving average", ema, lambda n: n, lambda n: (n + 1) / 2),
        _of_close("rma", "Wilder's moving average", rma, lambda n: n, lambda n: n),
        _of_close("wma", "Weighted moving average", wma, lambda n: n, lambda n: 0),
        _of_close("dema", "Double exponential moving average", dema, lambda n: 2 * n - 1, lambda n: n + 1),
        _of_close("tema", "Triple exponential moving average", tema, lambda n: 3 * n - 2, lambda n: 1.5 * (n + 1)),
        _of_close("trima", "Triangular moving average", trima, lambda n: n, lambda n: 0),
        Study(
            name="kama",
            title="Kaufman's adaptive moving average",
            columns=("kama",),
            lines=_kama,
            warm_up=lambda length, fast, slow: length + 1,
            parameters={"length": length(LENGTH), "fast": length(2), "slow": length(30)},
            # Between the quickest and the slowest: where a third of the way is straight.
            fades=lambda length, fast, slow: slow / 2,
        ),
    )
)
