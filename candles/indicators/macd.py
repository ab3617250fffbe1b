"""Distances of two averages of the close: MACD, and the absolute and percentage price oscillators."""

from __future__ import annotations

from collections.abc import Sequence

from candles.indicators.bars import Bars
from candles.indicators.indicator import Choice
from candles.indicators.primitives import Line, Values, ema, sma
from candles.indicators.study import Study, length

EACH = "each"
"""Each average is seeded as early as it can be (indicators.md §3.1); elsewhere both begin together."""


def difference(first: Values, second: Values) -> Line:
    """Where both exist."""
    return [None if a is None or b is None else a - b for a, b in zip(first, second, strict=True)]


def _macd(bars: Bars, fast: int, slow: int, signal: int, seed: str) -> Sequence[Line]:
    quick, calm = sorted((fast, slow))
    late = 0 if seed == EACH else min(calm - quick, len(bars))
    macd = difference([None] * late + ema(bars.close[late:], quick), ema(bars.close, calm))
    line = ema(macd, signal)
    return macd, line, difference(macd, line)


def _apo(bars: Bars, fast: int, slow: int) -> Sequence[Line]:
    return (difference(sma(bars.close, fast), sma(bars.close, slow)),)


def _ppo(bars: Bars, fast: int, slow: int) -> Sequence[Line]:
    quick, calm = sma(bars.close, fast), sma(bars.close, slow)
    return ([None if a is None or not b else 100 * (a - b) / b for a, b in zip(quick, calm, strict=True)],)


_TWO = {"fast": length(12), "slow": length(26)}

INDICATORS = (
    Study(
        name="macd",
        title="MACD: distance of two exponential averages",
        columns=("macd", "signal", "hist"),
        lines=_macd,
        warm_up=lambda fast, slow, signal, seed: max(fast, slow) + signal - 1,
        parameters={**_TWO, "signal": length(9), "seed": Choice((EACH, "together"))},
        fades=lambda fast, slow, signal, seed: (max(fast, slow) + 1) / 2 + (signal + 1) / 2,
    ).indicator(),
    Study(
        name="apo",
        title="Absolute price oscillator: distance of two simple averages",
        columns=("apo",),
        lines=_apo,
        warm_up=lambda fast, slow: max(fast, slow),
        parameters=_TWO,
    ).indicator(),
    Study(
        name="ppo",
        title="Percentage price oscillator",
        columns=("ppo",),
        lines=_ppo,
        warm_up=lambda fast, slow: max(fast, slow),
        parameters=_TWO,
    ).indicator(),
)
