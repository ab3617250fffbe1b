"""How an indicator is declared whose values are plain lines: name, parameters, warm-up and one function."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from candles.indicators.bars import Bars
from candles.indicators.indicator import CONVERGED_BARS, LOAD_BARS, Choice, Indicator, Number, Row, Value
from candles.indicators.primitives import Line
from livermore.core.candle import Reason
from livermore.core.errors import InvalidInput

FADED = 8.6
"""After so many time constants 1/5,000 of a wrong beginning is left: 250 bars for Wilder's mean of 26."""
SPARE_BARS = 50


@dataclass(frozen=True, slots=True)
class Values:
    """The newest bar's values; `n_eff` counts observed bars, `tainted` tells of an outage in the window."""

    candle_open_time: int
    candle_version: int
    values: Mapping[str, float | None]
    ready: bool
    converged: bool
    n_eff: int
    tainted: bool

    def payload(self) -> dict[str, Any]:
        """Ready for JSON: the values stand beside the other fields."""
        return {
            "candle_open_time": self.candle_open_time,
            "candle_version": self.candle_version,
            **self.values,
            "ready": self.ready,
            "converged": self.converged,
            "n_eff": self.n_eff,
            "tainted": self.tainted,
        }


@dataclass(frozen=True, slots=True)
class Study:
    """What a module declares.

    `lines` gives one line per column from bars and parameters. `warm_up` is the count of bars at which all of
    them exist, `fades` in how many bars a wrong beginning falls to 1/e: 0 for what looks at a window only,
    None where it never does (running totals).
    """

    name: str
    title: str
    columns: tuple[str, ...]
    lines: Callable[..., Sequence[Line]]
    warm_up: Callable[..., int]
    parameters: Mapping[str, Number | Choice]
    fades: Callable[..., float] | None = lambda **_: 0

    def indicator(self, given: Mapping[str, Value] | None = None) -> Indicator:
        """As the registry wants it, with these parameters instead of the defaults."""
        chosen = given or {name: parameter.default for name, parameter in self.parameters.items()}
        warm_up = self.warm_up(**chosen)
        needed = self.converges_at(chosen)

        def series(bars: Bars) -> list[Row]:
            return list(zip(bars.open_ms, *self.lines(bars, **chosen), strict=True))

        def latest(bars: Bars) -> Values:
            if not len(bars):
                raise InvalidInput("an indicator needs at least one candle")
            newest = [line[-1] for line in self.lines(bars, **chosen)]
            n_eff = sum(reason is None for reason in bars.reasons)
            is_ready = None not in newest
            return Values(
                candle_open_time=bars.open_ms[-1],
                candle_version=bars.revision,
                values=dict(zip(self.columns, newest, strict=True)),
                ready=is_ready,
                converged=is_ready and needed is not None and n_eff >= needed,
                n_eff=n_eff,
                tainted=Reason.OUTAGE in bars.reasons,
            )

        return Indicator(
            name=self.name,
            title=self.title,
            columns=self.columns,
            warm_up_bars=warm_up,
            latest=latest,
            series=series,
            load_bars=max(LOAD_BARS, (needed or warm_up) + SPARE_BARS),
            parameters=self.parameters,
            remake=self.indicator,
        )

    def converges_at(self, chosen: Mapping[str, Value]) -> int | None:
        """Observed bars from which the beginning no longer shows; None: never."""
        if self.fades is None:
            return None
        warm_up, fades = self.warm_up(**chosen), self.fades(**chosen)
        return max(CONVERGED_BARS, warm_up + ceil(FADED * fades)) if fades else warm_up


def length(default: int, least: int = 1) -> Number:
    """A count of bars; the most that the hot window can serve."""
    return Number(default, least, 200)
