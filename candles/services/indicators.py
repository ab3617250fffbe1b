"""Indicators of series that changed, computed from the hot window and published."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from candles import publish, window
from candles.indicators.bars import Bars
from candles.indicators.registry import indicators
from livermore.core.candle import Timeframe

PUBLISHED = ("macdv",)
"""Kept up to date for every series; the registry's variants are computed when somebody asks."""

Series = tuple[str, str, str]
"""Exchange, canonical symbol, timeframe."""


def compute(series: Iterable[Series]) -> int:
    """Recompute the published indicators of these series from their windows; how many values that were."""
    known = {name: indicators()[name] for name in PUBLISHED}
    load_bars = max(indicator.load_bars for indicator in known.values())
    values: dict[tuple[str, str, str, str], dict[str, Any]] = {}
    for exchange, symbol, timeframe in dict.fromkeys(map(tuple, series)):
        candles = window.newest(exchange, symbol, Timeframe(timeframe), load_bars)
        if not candles:
            continue
        bars = Bars.from_candles(candles)
        for name, indicator in known.items():
            payload = indicator.latest(bars).payload()
            values[exchange, symbol, timeframe, name] = {**payload, "close": bars.close[-1]}
    publish.indicators(values)
    return len(values)
