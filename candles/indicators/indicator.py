"""THE OBLIGATION of an indicator: what a module must put into its `INDICATORS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from candles.indicators.bars import Bars

LOAD_BARS = 300
"""Bars loaded per timeframe: at 300 a windowed MACD-V is within 0.005 points of a fully warmed one."""

CONVERGED_BARS = 250
"""Observed bars from which a recursive value no longer depends on where its window began."""

Row = tuple[int | float | None, ...]


class Latest(Protocol):
    """The value at the newest bar."""

    def payload(self) -> dict[str, Any]:
        """JSON with at least `candle_open_time` (ms), `candle_version`, `ready` and `converged`."""
        ...


@dataclass(frozen=True, slots=True)
class Indicator:
    """A named pure function of bars.

    `columns` names the fields of a chart row after its open time. `warm_up_bars` is the number of observed
    bars at which every value exists; `load_bars` what a caller should load.
    `latest` raises `InvalidInput` when there are no bars.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    warm_up_bars: int
    latest: Callable[[Bars], Latest]
    series: Callable[[Bars], list[Row]]
    load_bars: int = LOAD_BARS
