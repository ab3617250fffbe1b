"""Every followed market's MACD-V over all timeframes, side by side: bias, label and lists (indicators.md §3.4)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from candles.indicators.portfolio import Heights, label, lists, timeframe_bias
from candles.indicators.reading import Stage
from candles.services.indicators import KEPT
from exchanges.state import state_redis, unavailable
from livermore.core import keys
from livermore.core.candle import Timeframe
from symbols.models import ExchangeSymbol

_LABELLED = (Timeframe.H1, Timeframe.H4, Timeframe.D1)
_SHOWN = ("macdv", "stage", "converged", "tainted")


def table(markets: Sequence[ExchangeSymbol], now_ms: int, *, is_contrarian: bool = False) -> dict[str, Any]:
    """One row per market, in the given order, and by exchange the lists of those worth a look.

    A market without a value on 1h, 4h and 1d has no label and is in no list.
    """
    rows = []
    heights: dict[str, dict[str, Heights]] = {}
    for market, found in zip(markets, _values(markets), strict=True):
        stages = {t: Stage(said["stage"]) for t, said in found.items() if said["stage"]}
        height = _heights(found)
        if height is not None:
            heights.setdefault(market.exchange_id, {})[market.name] = height
        rows.append(
            {
                "exchange": market.exchange_id,
                "symbol": market.name,
                "base": market.base,
                "timeframes": {str(t): _shown(t, said, now_ms) for t, said in found.items()},
                "bias": str(timeframe_bias(stages, is_contrarian=is_contrarian)) if stages else None,
                "label": None if height is None else str(label(height)),
            }
        )
    return {"rows": rows, "lists": {exchange: _lists(of) for exchange, of in heights.items()}}


@unavailable()
def _values(markets: Sequence[ExchangeSymbol]) -> list[dict[Timeframe, dict[str, Any]]]:
    pipe = state_redis().pipeline(transaction=False)
    for market in markets:
        for timeframe in Timeframe:
            pipe.get(keys.indicator(market.exchange_id, market.name, timeframe, KEPT))
    texts = iter(pipe.execute())
    return [{t: json.loads(text) for t in Timeframe if (text := next(texts))} for _ in markets]


def _heights(found: dict[Timeframe, dict[str, Any]]) -> Heights | None:
    values = [found[t]["macdv"] for t in _LABELLED if t in found]
    return Heights(*values) if len(values) == len(_LABELLED) and None not in values else None


def _shown(timeframe: Timeframe, said: dict[str, Any], now_ms: int) -> dict[str, Any]:
    age_ms = max(0, now_ms - said["candle_open_time"] - timeframe.ms)
    return {**{name: said[name] for name in _SHOWN}, "candle_open_time": said["candle_open_time"], "age_ms": age_ms}


def _lists(heights: dict[str, Heights]) -> dict[str, list[str]]:
    found = lists(heights)
    return {
        "bullish": list(found.bullish),
        "bearish": list(found.bearish),
        "reversal_up": list(found.reversal_up),
        "reversal_down": list(found.reversal_down),
    }
