"""Redis: the hot window of closed candles, newest 1,000 of each series, and the word that one changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from exchanges.state import state_redis, unavailable
from livermore.core import keys
from livermore.core.candle import Candle, Timeframe

KEPT = 1_000

# One member per open; an older revision never replaces a newer one. Told in the same step as written: no crash
# comes between, and what the window already says is not told again.
_UPSERT = """
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[1], ARGV[1])) do
  if member == ARGV[2] or cjson.decode(member)['revision'] > tonumber(ARGV[3]) then return 0 end
  redis.call('ZREM', KEYS[1], member)
end
redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -tonumber(ARGV[4]) - 1)
if ARGV[5] ~= '' then redis.call('PUBLISH', ARGV[5], ARGV[2]) end
return 1
"""


@unavailable()
def put(candles: Iterable[Candle], *, tell: bool = False) -> None:
    """Write closed candles, each in one atomic step on one key; `tell` wakes listeners of those that changed."""
    upsert = state_redis().register_script(_UPSERT)
    pipe = state_redis().pipeline(transaction=False)
    for candle in candles:
        place = (candle.exchange, candle.symbol, candle.timeframe)
        channel = keys.channel_closed(*place) if tell else ""
        args = [candle.open_ms, candle.to_json(), candle.revision, KEPT, channel]
        upsert(keys=[keys.candles(*place)], args=args, client=pipe)
    pipe.execute()


@unavailable()
def newest(exchange: str, symbol: str, timeframe: Timeframe, count: int) -> list[Candle]:
    """Up to `count` newest closed candles, oldest first."""
    found = state_redis().zrange(keys.candles(exchange, symbol, timeframe), -count, -1)
    return [Candle.from_json(member) for member in found]


@unavailable()
def between(exchange: str, symbol: str, timeframe: Timeframe, from_ms: int, to_ms: int) -> list[Candle]:
    """Closed candles with `from_ms <= open < to_ms`, oldest first."""
    found = state_redis().zrangebyscore(keys.candles(exchange, symbol, timeframe), from_ms, f"({to_ms}")
    return [Candle.from_json(member) for member in found]


@unavailable()
def before(exchange: str, wanted: Sequence[tuple[str, int]], timeframe: Timeframe) -> list[Candle | None]:
    """For each (symbol, open ms), the newest closed candle that is older."""
    pipe = state_redis().pipeline(transaction=False)
    for symbol, open_ms in wanted:
        pipe.zrevrangebyscore(keys.candles(exchange, symbol, timeframe), f"({open_ms}", "-inf", start=0, num=1)
    return [Candle.from_json(found[0]) if found else None for found in pipe.execute()]


@unavailable()
def count(exchange: str, symbol: str, timeframe: Timeframe, from_ms: int, to_ms: int) -> int:
    """How many closed candles have `from_ms <= open < to_ms`."""
    found: Any = state_redis().zcount(keys.candles(exchange, symbol, timeframe), from_ms, f"({to_ms}")
    return int(found)
