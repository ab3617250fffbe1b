"""Redis: the hot window of closed candles, newest 1,000 of each series, and the word that one changed.

A symbol of the shared pool has one key for all; any other one a key for each follower, which ends a day after the
last word that he still follows (`candles.pool`). What reads a series here for the work of the pipeline reads the
shared key or the first follower's, because all followers' hold the same; where nobody follows, the table.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple, TypeVar

from candles import pool
from candles.models import Candle as Row
from candles.pool import Name, Place
from exchanges.state import state_redis, unavailable
from livermore.core import keys
from livermore.core.candle import Candle, Timeframe
from livermore.core.keys import CandleKey

_S = TypeVar("_S", bound=Sequence[Any])
_T = TypeVar("_T")

KEPT = 1_000
OVERFLOW_S = 86_400
"""A follower's key lives so long after it was last written, or he was last found to follow."""
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
if tonumber(ARGV[6]) > 0 then redis.call('EXPIRE', KEYS[1], ARGV[6]) end
if ARGV[5] ~= '' then redis.call('PUBLISH', ARGV[5], ARGV[2]) end
return 1
"""


# The same for many candles of a series, untold, where ARGV[2] says from which difference of revisions on a member
# gives way (0: also to another one of the same revision). Nothing is newer in an empty window, and what is older
# than all of a full one stays out. One step: a candle that closes meanwhile comes before or after all of it.
_UPSERT_MANY = """
local key, kept, members, life_s = KEYS[1], tonumber(ARGV[1]), {}, tonumber(ARGV[3])
local count, oldest = redis.call('ZCARD', key), -1
if count >= kept then oldest = tonumber(redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]) end
for at = 4, #ARGV, 3 do
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
  if life_s > 0 then redis.call('EXPIRE', key, life_s) end
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
    """Write closed candles, each in one atomic step on one key; `tell` wakes listeners of those that changed.

    Where each goes is looked up before and after: of a symbol that changed its tier meanwhile nothing is lost,
    because whoever moved its series may have come before this write.
    """
    wanted = list(candles)
    places = _places(wanted)
    while wanted:
        _put(wanted, places, tell=tell)
        before, places = places, _places(wanted)
        wanted = [c for c in wanted if before[c.exchange, c.symbol] != places[c.exchange, c.symbol]]


@unavailable()
def restore(candles: Iterable[Candle]) -> int:
    """Put stored candles back; how many the window lacked. What it has and is as new stays; nobody is told."""
    wanted = list(candles)
    return _put_untold(wanted, _places(wanted), least=1)


@unavailable()
def absent(series: Collection[CandleKey]) -> list[CandleKey]:
    """Those of which the window holds nothing, or nothing for one of their followers."""
    places = pool.places((key.exchange, key.symbol) for key in series)
    wanted = [places[key.exchange, key.symbol].keys(key.exchange, key.symbol, key.timeframe) for key in series]
    pipe = state_redis().pipeline(transaction=False)
    for name in chain.from_iterable(wanted):
        pipe.exists(name)
    there = {name for name, found in zip(chain.from_iterable(wanted), pipe.execute(), strict=True) if found}
    return [key for key, names in zip(series, wanted, strict=True) if not there.issuperset(names)]


def newest(exchange: str, symbol: str, timeframe: Timeframe, count: int) -> list[Candle]:
    """Up to `count` newest closed candles, oldest first."""
    return _ask(
        [(exchange, symbol, timeframe)],
        lambda pipe, key, _: pipe.zrange(key, -count, -1),
        _candles,
        lambda _: [_value(row) for row in reversed(_stored(exchange, symbol, timeframe)[:count])],
    )[0]


def between(exchange: str, symbol: str, timeframe: Timeframe, from_ms: int, to_ms: int) -> list[Candle]:
    """Closed candles with `from_ms <= open < to_ms`, oldest first."""
    return spans([Span(exchange, symbol, timeframe, from_ms, to_ms)])[0]


@unavailable()
def merged(
    exchange: str, symbol: str, timeframe: Timeframe, user: int | None, span_ms: tuple[int, int] | None, count: int
) -> tuple[list[Candle], set[int]]:
    """The newest `count` closed candles that this user may see, oldest first, and the opens the shared pool has.

    Bar by bar: the shared pool wins, the user's own overflow fills; nobody's else is looked at.
    """
    place = (exchange, symbol, timeframe)
    names = [keys.candles(*place)] + ([keys.user_candles(user, *place)] if user is not None else [])
    found = [_newest(name, span_ms, count) for name in names]
    bars = {c.open_ms: c for of in reversed(found) for c in of}
    opens = sorted(bars)[-count:]
    return [bars[ms] for ms in opens], {c.open_ms for c in found[0]}


def before(exchange: str, wanted: Sequence[tuple[str, int]], timeframe: Timeframe) -> list[Candle | None]:
    """For each (symbol, open ms), the newest closed candle that is older."""
    return _ask(
        [Span(exchange, symbol, timeframe, 0, open_ms) for symbol, open_ms in wanted],
        lambda pipe, key, span: pipe.zrevrangebyscore(key, f"({span.to_ms}", "-inf", start=0, num=1),
        lambda found: Candle.from_json(found[0]) if found else None,
        lambda span: _value(row) if (row := _rows(span).last()) else None,
    )


def counts(wanted: Sequence[Span]) -> list[int]:
    """How many closed candles each span holds."""
    return _ask(
        wanted,
        lambda pipe, key, span: pipe.zcount(key, span.from_ms, f"({span.to_ms}"),
        int,
        lambda span: _rows(span).count(),
    )


def spans(wanted: Sequence[Span]) -> list[list[Candle]]:
    """The closed candles of each span, oldest first."""
    return _ask(
        wanted,
        lambda pipe, key, span: pipe.zrangebyscore(key, span.from_ms, f"({span.to_ms}"),
        _candles,
        lambda span: [_value(row) for row in _rows(span)],
    )


def count(exchange: str, symbol: str, timeframe: Timeframe, from_ms: int, to_ms: int) -> int:
    """How many closed candles have `from_ms <= open < to_ms`."""
    return counts([Span(exchange, symbol, timeframe, from_ms, to_ms)])[0]


def _places(candles: Iterable[Candle]) -> Mapping[Name, Place]:
    return pool.places((c.exchange, c.symbol) for c in candles)


@unavailable()
def _ask(
    series: Sequence[_S], asked: Callable[[Any, str, _S], Any], read: Callable[[Any], _T], stored: Callable[[_S], _T]
) -> list[_T]:
    """Of each (exchange, symbol, timeframe, …) what its window says; of a symbol that has none, the table."""
    places = pool.places((of[0], of[1]) for of in series)
    names = [next(iter(places[of[0], of[1]].keys(*of[:3])), None) for of in series]
    pipe = state_redis().pipeline(transaction=False)
    for name, of in zip(names, series, strict=True):
        if name is not None:
            asked(pipe, name, of)
    found = iter(pipe.execute())
    return [stored(of) if name is None else read(next(found)) for name, of in zip(names, series, strict=True)]


def _stored(exchange: str, symbol: str, timeframe: Timeframe) -> Any:
    return Row.objects.of(exchange, symbol, str(timeframe)).select_related("symbol")


def _rows(span: Span) -> Any:
    """Oldest first."""
    found = _stored(span.exchange, span.symbol, span.timeframe)
    return found.filter(open_ms__gte=span.from_ms, open_ms__lt=span.to_ms).order_by("open_ms")


def _value(row: Row) -> Candle:
    return row.value(row.symbol.exchange_id, row.symbol.name)


def _newest(key: str, span_ms: tuple[int, int] | None, count: int) -> list[Candle]:
    if span_ms is None:
        return _candles(state_redis().zrange(key, -count, -1))
    found = state_redis().zrevrangebyscore(key, f"({span_ms[1]}", span_ms[0], start=0, num=count)
    return _candles(reversed(found))


def _candles(members: Iterable[bytes]) -> list[Candle]:
    return [Candle.from_json(member) for member in members]


def _put(candles: Sequence[Candle], places: Mapping[Name, Place], *, tell: bool) -> None:
    if not tell:
        _put_untold(candles, places, least=0)
        return
    upsert = state_redis().register_script(_UPSERT)
    pipe = state_redis().pipeline(transaction=False)
    for candle in candles:
        series = (candle.exchange, candle.symbol, candle.timeframe)
        place, channel = places[series[:2]], keys.channel_closed(*series)
        for name in place.keys(*series):
            args = [candle.open_ms, candle.to_json(), candle.revision, KEPT, channel, _life_s(place)]
            upsert(keys=[name], args=args, client=pipe)
            channel = ""  # one event, however many follow
    pipe.execute()


def _life_s(place: Place) -> int:
    return 0 if place.is_shared else OVERFLOW_S


def _put_untold(candles: Iterable[Candle], places: Mapping[Name, Place], *, least: int) -> int:
    series: dict[tuple[str, int], dict[int, Candle]] = {}
    for candle in candles:
        place = places[candle.exchange, candle.symbol]
        for name in place.keys(candle.exchange, candle.symbol, candle.timeframe):
            of = series.setdefault((name, _life_s(place)), {})
            other = of.get(candle.open_ms)
            if other is None or other.revision <= candle.revision:
                of[candle.open_ms] = candle
    upsert = state_redis().register_script(_UPSERT_MANY)
    pipe = state_redis().pipeline(transaction=False)
    for (name, life_s), of in series.items():
        newest_first = [of[open_ms] for open_ms in sorted(of, reverse=True)]
        for at in range(0, len(of), _CHUNK):
            rows = ((c.open_ms, c.to_json(), c.revision) for c in newest_first[at : at + _CHUNK])
            upsert(keys=[name], args=[KEPT, least, life_s, *chain.from_iterable(rows)], client=pipe)
    return sum(pipe.execute())
