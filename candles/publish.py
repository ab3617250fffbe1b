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


# One step on the one stream: what it holds already is neither appended nor told again, even if whoever appended it
# died before it could write that down. Looked for from an id on: nothing is told before its bar has ended.
_APPEND_ONCE = """
local known = {}
for _, entry in ipairs(redis.call('XREVRANGE', KEYS[1], '+', ARGV[1])) do
  for at = 1, #entry[2], 2 do
    if entry[2][at] == 'id' then known[entry[2][at + 1]] = true end
  end
end
local told = 0
for at = 3, #ARGV, 3 do
  if not known[ARGV[at]] then
    redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'event', ARGV[at + 2], 'id', ARGV[at])
    redis.call('PUBLISH', ARGV[at + 1], ARGV[at + 2])
    told = told + 1
  end
end
return told
"""


@unavailable()
def alerts_once(events: Mapping[str, Mapping[str, Any]], since_ms: int) -> int:
    """Append alerts by id to the durable stream and wake their exchanges' listeners; how many were not there.

    Looks for earlier ones among what the stream got since `since_ms`.
    """
    if not events:
        return 0
    args: list[Any] = [max(0, since_ms), ALERTS_KEPT]
    for name, told in events.items():
        text = json.dumps(told, separators=(",", ":"), allow_nan=False)
        args += [name, keys.channel_alerts(str(told["exchange"])), text]
    append = state_redis().register_script(_APPEND_ONCE)
    return int(append(keys=[keys.alerts_stream()], args=args))


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
