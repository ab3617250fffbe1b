"""Where the price stands between the highest and the lowest of a window."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from candles.indicators.bars import Bars
from candles.indicators.primitives import Line, sma
from candles.indicators.study import Study, length


def _windows(bars: Bars, length: int, of: Callable[[int, int], float | None]) -> Line:
    """`of(start, end)` for each window of so many bars."""
    line: Line = [None] * min(length - 1, len(bars))
    return line + [of(end - length, end) for end in range(length, len(bars) + 1)]


def _place(bars: Bars, length: int) -> Line:
    """Of the close, 0 at the window's lowest and 100 at its highest; None where these are one."""

    def place(start: int, end: int) -> float | None:
        lowest, highest = min(bars.low[start:end]), max(bars.high[start:end])
        return 100 * (bars.close[end - 1] - lowest) / (highest - lowest) if highest > lowest else None

    return _windows(bars, length, place)


def _stochastic(bars: Bars, length: int, slow: int, signal: int) -> Sequence[Line]:
    slow_k = sma(_place(bars, length), slow)
    return slow_k, sma(slow_k, signal)


def _williams(bars: Bars, length: int) -> Sequence[Line]:
    return ([None if place is None else place - 100 for place in _place(bars, length)],)


def _aroon(bars: Bars, length: int) -> Sequence[Line]:
    def oscillator(start: int, end: int) -> float:
        highest = max(range(start, end), key=lambda i: (bars.high[i], i))
        lowest = max(range(start, end), key=lambda i: (-bars.low[i], i))
        return 100 * (highest - lowest) / length

    return (_windows(bars, length + 1, oscillator),)


def _midpoint(bars: Bars, length: int) -> Sequence[Line]:
    return (_windows(bars, length, lambda s, e: (max(bars.close[s:e]) + min(bars.close[s:e])) / 2),)


def _midprice(bars: Bars, length: int) -> Sequence[Line]:
    return (_windows(bars, length, lambda s, e: (max(bars.high[s:e]) + min(bars.low[s:e])) / 2),)


def _of_length(name: str, title: str, lines: Callable[..., Sequence[Line]], more: int = 0) -> Study:
    return Study(
        name=name,
        title=title,
        columns=(name,),
        lines=lines,
        warm_up=lambda length: length + more,
        parameters={"length": length(14)},
    )


INDICATORS = (
    Study(
        name="stochastic",
        title="Slow stochastic oscillator",
        columns=("slow_k", "slow_d"),
        lines=_stochastic,
        warm_up=lambda length, slow, signal: length + slow + signal - 2,
        parameters={"length": length(5), "slow": length(3), "signal": length(3)},
    ).indicator(),
    _of_length("willr", "Williams %R", _williams).indicator(),
    _of_length("aroonosc", "Aroon oscillator", _aroon, 1).indicator(),
    _of_length("midpoint", "Middle of the closes of a window", _midpoint).indicator(),
    _of_length("midprice", "Middle of the range of a window", _midprice).indicator(),
)
