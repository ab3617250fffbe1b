"""Indicators of series that changed, computed from the hot window and published."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from candles import publish, window
from candles.indicators import macdv
from candles.indicators.bars import Bars
from candles.indicators.indicator import LOAD_BARS
from candles.services import alerts
from candles.services.alert_event import Looked
from livermore.core.candle import Timeframe

KEPT = macdv.SPIROGLOU.name
"""Kept up to date for every series, since alerts and signals need it; the others are computed when asked for."""

Series = tuple[str, str, str]
"""Exchange, canonical symbol, timeframe."""


def compute(series: Iterable[Series], now_ms: int | None = None) -> int:
    """Recompute the MACD-V of these series from their windows and raise its alerts; how many values that were.

    `now_ms` is our clock where it is not given: what ended long before it raises no alert.
    """
    values: dict[tuple[str, str, str, str], dict[str, Any]] = {}
    looked: list[Looked] = []
    for exchange, symbol, timeframe in dict.fromkeys(map(tuple, series)):
        candles = window.newest(exchange, symbol, Timeframe(timeframe), LOAD_BARS)
        if not candles:
            continue
        bars = Bars.from_candles(candles)
        lines = macdv.lines(bars)
        payload = macdv.snapshot(bars, of=lines).payload()
        values[exchange, symbol, timeframe, KEPT] = {**payload, "close": bars.close[-1]}
        looked.append(Looked((exchange, symbol, timeframe), candles, bars, lines))
    publish.indicators(values)
    alerts.evaluate(looked, time.time_ns() // 1_000_000 if now_ms is None else now_ms)
    return len(values)
