"""Redis channels and streams: what readers are woken with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from exchanges.state import state_redis, unavailable
from livermore.core import keys
from livermore.core.candle import Candle

SIGNALS_KEPT = 10_000


@unavailable()
def closed(candles: Iterable[Candle]) -> None:
    """Tell that candles were closed or revised."""
    pipe = state_redis().pipeline(transaction=False)
    for candle in candles:
        pipe.publish(
            keys.channel_closed(candle.exchange, candle.symbol, candle.timeframe), candle.to_json()
        )
    pipe.execute()


@unavailable()
def indicators(values: Mapping[tuple[str, str, str, str], Mapping[str, Any]]) -> None:
    """Keep and tell the latest values, by (exchange, symbol, timeframe, kind)."""
    pipe = state_redis().pipeline(transaction=False)
    for place, value in values.items():
        text = json.dumps(value, separators=(",", ":"), allow_nan=False)
        pipe.set(keys.indicator(*place), text)
        pipe.publish(keys.channel_indicator(*place), text)
    pipe.execute()


@unavailable()
def signals(events: Iterable[Mapping[str, Any]]) -> None:
    """Append events to the durable stream, then wake whoever listens to their base."""
    pipe = state_redis().pipeline(transaction=False)
    for happening in events:
        text = json.dumps(happening, separators=(",", ":"))
        pipe.xadd(keys.signals_stream(), {"event": text}, maxlen=SIGNALS_KEPT, approximate=True)
        pipe.publish(keys.channel_signal(str(happening["base"])), text)
    pipe.execute()
