"""Bollinger bands: the mean of the close and so many standard deviations (of the population) around it."""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum, sqrt

from candles.indicators.bars import Bars
from candles.indicators.indicator import Number
from candles.indicators.primitives import Line
from candles.indicators.study import Study, length


def deviations(values: Sequence[float], length: int) -> tuple[Line, Line]:
    """Mean and standard deviation of the last `length` values."""
    means: Line = [None] * min(length - 1, len(values))
    sigmas: Line = list(means)
    for end in range(length, len(values) + 1):
        window = values[end - length : end]
        mean = fsum(window) / length
        means.append(mean)
        sigmas.append(sqrt(fsum((value - mean) ** 2 for value in window) / length))
    return means, sigmas


def _bands(bars: Bars, length: int, width: float) -> Sequence[Line]:
    means, sigmas = deviations(bars.close, length)
    pairs = list(zip(means, sigmas, strict=True))
    lower: Line = [None if m is None or s is None else m - width * s for m, s in pairs]
    upper: Line = [None if m is None or s is None else m + width * s for m, s in pairs]
    return lower, means, upper


INDICATORS = (
    Study(
        name="bollinger",
        title="Bollinger bands",
        columns=("lower", "middle", "upper"),
        lines=_bands,
        warm_up=lambda length, width: length,
        parameters={"length": length(20, 2), "width": Number(2.0, 0.1, 10.0)},
    ).indicator(),
)
