"""Closed candles as columns of floats: the input of every indicator."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from livermore.core.candle import Candle, Reason
from livermore.core.errors import InvalidInput

LONGEST_HOLE = 1_000
"""Slots; beyond it (the length of the stored window) nothing older can belong to the same window."""


@dataclass(frozen=True, slots=True)
class Bars:
    """One bar per slot of a timeframe, oldest first, without missing slots.

    `reasons` says why a bar is synthetic, None for an observed one; `turnover` is in quote, None where unknown;
    `revision` is the newest candle's.
    """

    open_ms: tuple[int, ...]
    open: tuple[float, ...]
    high: tuple[float, ...]
    low: tuple[float, ...]
    close: tuple[float, ...]
    volume: tuple[float, ...]
    turnover: tuple[float | None, ...]
    reasons: tuple[Reason | None, ...]
    revision: int = 0

    def __len__(self) -> int:
        return len(self.open_ms)

    @classmethod
    def from_candles(cls, candles: Iterable[Candle]) -> Bars:
        """The bars of candles of one symbol and timeframe, oldest first.

        A silent slot is a synthetic candle, so a slot without any candle is one we missed: it becomes a
        flat bar with reason `outage`. Raises `InvalidInput` when the candles are not ascending.
        """
        rows: list[_Row] = []
        revision = 0
        for candle in candles:
            if rows:
                missing = _missing(rows[-1][0], candle)
                if missing > LONGEST_HOLE:
                    rows.clear()
                else:
                    rows.extend(_flat(rows[-1], candle.timeframe.ms, missing))
            rows.append(_row(candle))
            revision = candle.revision
        return cls._of(rows, revision)

    @classmethod
    def _of(cls, rows: list[_Row], revision: int) -> Bars:
        return cls(
            open_ms=tuple([row[0] for row in rows]),
            open=tuple([row[1] for row in rows]),
            high=tuple([row[2] for row in rows]),
            low=tuple([row[3] for row in rows]),
            close=tuple([row[4] for row in rows]),
            volume=tuple([row[5] for row in rows]),
            turnover=tuple([row[6] for row in rows]),
            reasons=tuple([row[7] for row in rows]),
            revision=revision,
        )


_Row = tuple[int, float, float, float, float, float, float | None, Reason | None]


def _row(candle: Candle) -> _Row:
    return (
        candle.open_ms,
        float(candle.open),
        float(candle.high),
        float(candle.low),
        float(candle.close),
        float(candle.volume),
        None if candle.turnover is None else float(candle.turnover),
        candle.reason,
    )


def _missing(previous_ms: int, candle: Candle) -> int:
    step, rest = divmod(candle.open_ms - previous_ms, candle.timeframe.ms)
    if step < 1 or rest:
        raise InvalidInput(f"{candle.symbol} {candle.open_ms}: candles must ascend in one timeframe")
    return step - 1


def _flat(last: _Row, step_ms: int, count: int) -> list[_Row]:
    close = last[4]
    return [(last[0] + n * step_ms, close, close, close, close, 0.0, 0.0, Reason.OUTAGE) for n in range(1, count + 1)]
