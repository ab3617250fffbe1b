"""What an alert says (indicators.md §3.5, 7): the values of its bar, and how the other timeframes stood."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from candles.indicators import portfolio, reading
from candles.indicators.alerts import KIND, Bar, Hit, Rules
from candles.indicators.bars import Bars
from candles.indicators.macdv import Lines
from candles.indicators.reading import Stage
from exchanges.state import state_redis, unavailable
from livermore.core import keys
from livermore.core.candle import Candle, Timeframe
from livermore.core.exact import plain
from livermore.core.symbol import Symbol

Event = dict[str, Any]
Place = tuple[str, str, str]
"""Exchange, canonical symbol, timeframe."""


@dataclass(frozen=True, slots=True)
class Looked:
    """One series as its indicators were just computed."""

    place: Place
    candles: Sequence[Candle]
    bars: Bars
    lines: Lines


def raised(of: Looked, hit: Hit, rules: Rules, event_id: str, now_ms: int) -> Event:
    """The public form of a new alert."""
    exchange, symbol, timeframe = of.place
    ended_ms = hit.bar.open_ms + Timeframe(timeframe).ms
    others, trade_ms = _surroundings(exchange, symbol)
    return {
        "v": 1,
        "schema": "alert.v1",
        "event_id": event_id,
        "kind": KIND,
        "type": KIND,
        "phase": "raised",
        "exchange": exchange,
        "exchange_id": exchange,
        "symbol": symbol,
        "base": Symbol.parse(symbol).base,
        "timeframe": timeframe,
        "label": hit.label,
        "direction": str(hit.direction),
        "previous_label": hit.previous_label,
        "levels": list(hit.passed),
        **_values(of, hit, rules),
        "bar_open_time": hit.bar.open_ms,
        "bar_close_time": ended_ms,
        "bar_version": hit.bar.revision,
        "final": True,
        "timeframes": others,
        "bias": _bias(others),
        "evaluated_ms": now_ms,
        "bar_age_ms": max(0, now_ms - ended_ms),
        "trade_age_ms": None if trade_ms is None else max(0, now_ms - trade_ms),
        "revised": None,
    }


def _values(of: Looked, hit: Hit, rules: Rules) -> Event:
    """What the bar itself says."""
    at = of.bars.open_ms.index(hit.bar.open_ms)
    candle = next(c for c in reversed(of.candles) if c.open_ms == hit.bar.open_ms)
    return {
        "value": hit.value,
        "previous_value": hit.previous,
        "signal": of.lines.signal[at],
        "hist": of.lines.hist[at],
        "buffer": rules.buffer(hit.value),
        "buffer_pct": 100 * (rules.buffers[0] if hit.value < 0 else rules.buffers[1]),
        "price": plain(candle.close),
        "bar_quality": str(candle.quality),
        "zone": str(reading.zone(hit.value)),
        "stage": _stage(of, at),
    }


def revised(event: Mapping[str, Any], bar: Bar, count: int, now_ms: int, *, stands: bool) -> Event:
    """The same alert with what a revision of its bar made of it; what it first said stays."""
    note = {
        "count": count,
        "stands": stands,
        "value": bar.macdv,
        "hist": bar.hist,
        "bar_version": bar.revision,
        "at_ms": now_ms,
    }
    return {**event, "phase": "revised", "revised": note}


def _stage(of: Looked, at: int) -> str | None:
    macdv, line = of.lines.macdv[: at + 1], of.lines.signal[: at + 1]
    if macdv[-1] is None or line[-1] is None:
        return None
    towards = reading.direction(macdv, line)
    return str(reading.stage(macdv[-1], towards, is_ranging=reading.is_ranging(macdv)))


def _bias(timeframes: Mapping[str, Mapping[str, Any]]) -> str:
    stages = {Timeframe(name): Stage(said["stage"]) for name, said in timeframes.items() if said["stage"]}
    return str(portfolio.timeframe_bias(stages))


@unavailable()
def _surroundings(exchange: str, symbol: str) -> tuple[dict[str, dict[str, Any]], int | None]:
    """How the MACD-V stands in each timeframe that has one, and the venue's time (ms) of the newest trade."""
    pipe = state_redis().pipeline(transaction=False)
    for timeframe in Timeframe:
        pipe.get(keys.indicator(exchange, symbol, timeframe, KIND))
    pipe.hget(keys.ticker(exchange, symbol), "time_ms")
    *values, trade_ms = pipe.execute()
    found = {str(t): json.loads(text) for t, text in zip(Timeframe, values, strict=True) if text}
    names = ("macdv", "stage", "converged", "candle_open_time")
    return {t: {name: said[name] for name in names} for t, said in found.items()}, _ms(trade_ms)


def _ms(text: bytes | None) -> int | None:
    return None if text is None else int(float(text))
