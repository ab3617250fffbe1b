"""Redis channels and streams: what readers of indicators, signals and alerts are woken with."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from exchanges.state import state_redis, unavailable
from livermore.core import keys

SIGNALS_KEPT = 10_000
ALERTS_KEPT = 10_000

# The value of an older candle or revision never replaces a newer one, and an equal one is not told again.
_KEEP = """
local stored = redis.call('GET', KEYS[1])
if stored == ARGV[2] then return 0 end
if stored then
  local function place(text)
    local value = cjson.decode(text)
    return tonumber(value['candle_open_time']) or 0, tonumber(value['candle_version']) or 0
  end
  local open_ms, version = place(stored)
  local new_open_ms, new_version = place(ARGV[2])
  if open_ms > new_open_ms or (open_ms == new_open_ms and version > new_version) then return 0 end
end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('PUBLISH', ARGV[1], ARGV[2])
return 1
"""


@unavailable()
def indicators(values: Mapping[tuple[str, str, str, str], Mapping[str, Any]]) -> None:
    """Keep and tell the latest values, by (exchange, symbol, timeframe, kind).

    Each is one atomic step on one key: of two that compute at once the one with the older candle keeps and
    tells nothing, and neither does one that finds the same again.
    """
    keep = state_redis().register_script(_KEEP)
    pipe = state_redis().pipeline(transaction=False)
    for place, value in values.items():
        text = json.dumps(value, separators=(",", ":"), allow_nan=False)
        keep(keys=[keys.indicator(*place)], args=[keys.channel_indicator(*place), text], client=pipe)
    pipe.execute()


@unavailable()
def signals(events: Iterable[Mapping[str, Any]]) -> None:
    """Append events to the durable stream, then wake whoever listens to their base."""
    _append(events, keys.signals_stream(), SIGNALS_KEPT, lambda told: keys.channel_signal(str(told["base"])))


@unavailable()
def alerts(events: Iterable[Mapping[str, Any]]) -> None:
    """Append alerts to the durable stream, then wake whoever listens to their exchange."""
    _append(events, keys.alerts_stream(), ALERTS_KEPT, lambda told: keys.channel_alerts(str(told["exchange"])))


def _append(
    events: Iterable[Mapping[str, Any]], stream: str, kept: int, channel: Callable[[Mapping[str, Any]], str]
) -> None:
    pipe = state_redis().pipeline(transaction=False)
    for happening in events:
        text = json.dumps(happening, separators=(",", ":"))
        pipe.xadd(stream, {"event": text}, maxlen=kept, approximate=True)
        pipe.publish(channel(happening), text)
    pipe.execute()
