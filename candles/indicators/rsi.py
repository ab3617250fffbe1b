"""Rises against falls of the close: RSI, and Chande's momentum oscillator with Wilder's smoothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from candles.indicators.bars import Bars
from candles.indicators.primitives import Line, rma
from candles.indicators.study import Study, length


def _moves(close: Sequence[float], length: int) -> Iterator[tuple[float, float] | None]:
    """Wilder's means of rises and of falls; None before they exist, and where nothing moved at all."""
    moves = [b - a for a, b in pairwise(close)]
    rises = rma([None, *(max(move, 0.0) for move in moves)], length)
    falls = rma([None, *(max(-move, 0.0) for move in moves)], length)
    for up, down in zip(rises[: len(close)], falls[: len(close)], strict=True):
        yield None if up is None or down is None or not up + down else (up, down)


def _rsi(bars: Bars, length: int) -> Sequence[Line]:
    return ([None if pair is None else 100 * pair[0] / sum(pair) for pair in _moves(bars.close, length)],)


def _cmo(bars: Bars, length: int) -> Sequence[Line]:
    pairs = _moves(bars.close, length)
    return ([None if pair is None else 100 * (pair[0] - pair[1]) / sum(pair) for pair in pairs],)


INDICATORS = tuple(
    Study(
        name=name,
        title=title,
        columns=(name,),
        lines=lines,
        warm_up=lambda length: length + 1,
        parameters={"length": length(14)},
        fades=lambda length: length,
    ).indicator()
    for name, title, lines in (
        ("rsi", "Relative strength index (Wilder)", _rsi),
        ("cmo", "Chande momentum oscillator", _cmo),
    )
)
