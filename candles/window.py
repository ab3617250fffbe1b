"""Redis: the hot window of closed candles, newest 1,000 of each series, and the word that one changed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple

from exchanges.state import state_redis, unavailable
from livermore.core import keys
from livermore.core.candle import Candle, Timeframe
from livermore.core.keys import CandleKey

KEPT = 1_000
_CHUNK = 1_000
"""So many candles are one step: Redis is busy with them for a few milliseconds."""

# One member per open; an older revision never replaces a newer one. Told in the same step as written: no crash
# comes between, and what the window already says is not told again.
_UPSERT = """
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[1], ARGV[1])) do
  if member == ARGV[2] or cjson.decode(member)['revision'] > tonumber(ARGV[3]) then return 0 end
  redis.call('ZREM', KEYS[1], member)
end
redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -tonumber(ARGV[4]) - 1)
redis.call('PUBLISH', ARGV[5], ARGV[2])
return 1
"""


# The same for many candles of a series, untold, where ARGV[2] says from which difference of revisions on a member
# gives way (0: also to another one of the same revision). Nothing is newer in an empty window, and what is older
# than all of a full one stays out. One step: a candle that closes meanwhile comes before or after all of it.
_UPSERT_MANY = """
local key, kept, members = KEYS[1], tonumber(ARGV[1]), {}
local count, oldest = redis.call('ZCARD', key), -1
if count >= kept then oldest = tonumber(redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]) end
for at = 3, #ARGV, 3 do
  local open, member, is_new = ARGV[at], ARGV[at + 1], tonumber(ARGV[at]) >= oldest
  if is_new and count > 0 then
    for _, there in ipairs(redis.call('ZRANGEBYSCORE', key, open, open)) do
      if there == member or ARGV[at + 2] - cjson.decode(there)['revision'] < tonumber(ARGV[2]) then
        is_new = false
      else
        redis.call('ZREM', key, there)
      end
    end
  end
  if is_new then
    members[#members + 1] = open
    members[#members + 1] = member
  end
end
if #members > 0 then
  redis.call('ZADD', key, unpack(members))
  redis.call('ZREMRANGEBYRANK', key, 0, -kept - 1)
end
return #members / 2
"""


class Span(NamedTuple):
    """Candles of one series with `from_ms <= open < to_ms`."""

    exchange: str
    symbol: str
    timeframe: Timeframe
    from_ms: int
    to_ms: int


@unavailable()
def put(candles: Iterable[Candle], *, tell: bool = False) -> None:
    """Write closed candles, each in one atomic step on one key; `tell` wakes listeners of those that changed."""
    if not tell:
        _put_untold(candles, least=0)
        return
    upsert = state_redis().register_script(_UPSERT)
    pipe = state_redis().pipeline(transaction=False)
    for candle in candles:
        place = (candle.exchange, candle.symbol, candle.timeframe)
        args = [candle.open_ms, candle.to_json(), candle.revision, KEPT, keys.channel_closed(*place)]
        upsert(keys=[keys.candles(*place)], args=args, client=pipe)
    pipe.execute()


@unavailable()
def restore(candles: Iterable[Candle]) -> int:
    """Put stored candles back; how many the window lacked. What it has and is as new stays; nobody is told."""
    return _put_untold(candles, least=1)


@unavailable()
def absent(series: Collection[CandleKey]) -> list[CandleKey]:
    """Those of which the window holds nothing."""
    pipe = state_redis().pipeline(transaction=False)
    for key in series:
        pipe.exists(str(key))
    return [key for key, found in zip(series, pipe.execute(), strict=True) if not found]


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
def counts(spans: Sequence[Span]) -> list[int]:
    """How many closed candles each span holds."""
    pipe = state_redis().pipeline(transaction=False)
    for span in spans:
        pipe.zcount(keys.candles(span.exchange, span.symbol, span.timeframe), span.from_ms, f"({span.to_ms}")
    return list(pipe.execute())


@unavailable()
def spans(wanted: Sequence[Span]) -> list[list[Candle]]:
    """The closed candles of each span, oldest first."""
    pipe = state_redis().pipeline(transaction=False)
    for span in wanted:
        pipe.zrangebyscore(keys.candles(span.exchange, span.symbol, span.timeframe), span.from_ms, f"({span.to_ms}")
    return [[Candle.from_json(member) for member in found] for found in pipe.execute()]


@unavailable()
def count(exchange: str, symbol: str, timeframe: Timeframe, from_ms: int, to_ms: int) -> int:
    """How many closed candles have `from_ms <= open < to_ms`."""
    found: Any = state_redis().zcount(keys.candles(exchange, symbol, timeframe), from_ms, f"({to_ms}")
    return int(found)


def _put_untold(candles: Iterable[Candle], *, least: int) -> int:
    series: dict[str, dict[int, Candle]] = {}
    for candle in candles:
        of = series.setdefault(keys.candles(candle.exchange, candle.symbol, candle.timeframe), {})
        other = of.get(candle.open_ms)
        if other is None or other.revision <= candle.revision:
            of[candle.open_ms] = candle
    upsert = state_redis().register_script(_UPSERT_MANY)
    pipe = state_redis().pipeline(transaction=False)
    for key, of in series.items():
        newest_first = [of[open_ms] for open_ms in sorted(of, reverse=True)]
        for at in range(0, len(of), _CHUNK):
            rows = ((c.open_ms, c.to_json(), c.revision) for c in newest_first[at : at + _CHUNK])
            upsert(keys=[key], args=[KEPT, least, *chain.from_iterable(rows)], client=pipe)
    return sum(pipe.execute())
