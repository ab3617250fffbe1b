"""Redis: the predecessor's candle keys, read while a migration runs and written while both are (`legacy_keys`).

Its member is `{"timestamp", "open", "high", "low", "close", "volume", "symbol", "timeframe"}` with JSON floats; what we
take over of it is told from candles of our own by `source` rest with `quality` clean, which nothing else has.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple, Protocol

from candles import window
from candles.legacy_models import LegacyMigration, Mode
from exchanges.state import state_redis, unavailable
from livermore.core import legacy_keys
from livermore.core.candle import BASE_TIMEFRAME, Candle, Quality, Source, Timeframe
from livermore.core.errors import InvalidInput
from livermore.core.exact import CEILING, plain
from livermore.core.legacy_keys import LegacyKey

COPY_S = 86_400
"""A key of the predecessor's that we keep up to date lives so long after the last word."""
READ = (Mode.LEGACY, Mode.DUAL)
"""In these modes its keys still fill what ours lack."""
TAKEN_OVER = b'"source":"rest","quality":"clean"'
"""In a member of ours: it was one of the predecessor's."""

# Bars of the predecessor's into a key of ours: where there is none, or an earlier state of the same bar, whose volume
# was smaller. A candle of our own always stays. Says how many were new and how many were raised.
_FILL = """
local key, kept, life_s, added, raised, oldest = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), 0, 0, -1
if redis.call('ZCARD', key) >= kept then oldest = tonumber(redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]) end
for at = 3, #ARGV, 3 do
  local open, member, volume = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  local there = redis.call('ZRANGEBYSCORE', key, open, open)[1]
  if not there then
    if tonumber(open) > oldest then
      redis.call('ZADD', key, open, member)
      added = added + 1
    end
  elseif there ~= member then
    local held = cjson.decode(there)
    if held['source'] == 'rest' and held['quality'] == 'clean' and tonumber(held['volume']) < volume then
      redis.call('ZREM', key, there)
      redis.call('ZADD', key, open, member)
      raised = raised + 1
    end
  end
end
redis.call('ZREMRANGEBYRANK', key, 0, -kept - 1)
if life_s > 0 then redis.call('EXPIRE', key, life_s) end
return {added, raised}
"""
# A candle of ours into a key of the predecessor's, told there only if it changed.
_MIRROR = """
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[1], ARGV[1])) do
  if member == ARGV[2] then return 0 end
  redis.call('ZREM', KEYS[1], member)
end
redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -tonumber(ARGV[3]) - 1)
if tonumber(ARGV[4]) > 0 then redis.call('EXPIRE', KEYS[1], ARGV[4]) end
if ARGV[5] ~= '' then redis.call('PUBLISH', ARGV[5], ARGV[2]) end
return 1
"""


class Fill(NamedTuple):
    """Bars for one key of ours; `life_s` is 0 in the shared pool."""

    key: str
    life_s: int
    bars: Sequence[Candle]


def value(exchange: str, symbol: str, timeframe: Timeframe, member: bytes) -> Candle:
    """A member of the predecessor's as a candle of ours, with the digits it was written in.

    Raises `InvalidInput` for anything that is no candle of this timeframe.
    """
    try:
        said = json.loads(member, parse_float=Decimal)
        open_ms = said["timestamp"]
        numbers = [Decimal(said[name]) for name in ("open", "high", "low", "close", "volume")]
        if type(open_ms) is not int or not all(n < CEILING for n in numbers) or min(numbers[:4]) <= 0 or numbers[4] < 0:
            raise InvalidInput("no candle")
        return Candle(exchange, symbol, timeframe, open_ms, *numbers, source=Source.REST, quality=Quality.CLEAN)
    except (ValueError, TypeError, KeyError, ArithmeticError) as error:
        raise InvalidInput(f"no candle of the predecessor's: {error}") from None


class Bar(Protocol):
    """What the predecessor knows of a candle, closed or forming."""

    @property
    def open_ms(self) -> int: ...
    @property
    def open(self) -> Decimal: ...
    @property
    def high(self) -> Decimal: ...
    @property
    def low(self) -> Decimal: ...
    @property
    def close(self) -> Decimal: ...
    @property
    def volume(self) -> Decimal: ...


def text(bar: Bar, symbol: str, timeframe: str) -> str:
    """A candle of ours as the predecessor's readers know it; the numbers are JSON's, with all their digits."""
    numbers = ((name, plain(getattr(bar, name))) for name in ("open", "high", "low", "close", "volume"))
    shown = "".join(f'"{name}":{number},' for name, number in numbers)
    return f'{{"timestamp":{bar.open_ms},{shown}"symbol":{json.dumps(symbol)},"timeframe":"{timeframe}"}}'


@unavailable()
def fill(fills: Iterable[Fill]) -> list[tuple[int, int]]:
    """Put bars of the predecessor's where ours lack them; of each key how many were new, and how many raised."""
    script = state_redis().register_script(_FILL)
    pipe = state_redis().pipeline(transaction=False)
    for one in fills:
        rows = [field for c in one.bars for field in (c.open_ms, c.to_json(), plain(c.volume))]
        script(keys=[one.key], args=[window.KEPT, one.life_s, *rows], client=pipe)
    return [(int(added), int(raised)) for added, raised in pipe.execute()]


def numbers(*modes: Mode) -> dict[str, int]:
    """Exchange → its number in the predecessor's keys, of those in one of these modes."""
    return dict(LegacyMigration.objects.filter(mode__in=modes).values_list("exchange_id", "number"))


def mirror(candles: Iterable[Candle], *, tell: bool) -> None:
    """Write closed candles to the predecessor's keys as well, where its readers are still served."""
    dual = numbers(Mode.DUAL)
    concerned = [c for c in candles if c.exchange in dual] if dual else []
    if concerned:
        write(concerned, readers({(c.exchange, c.symbol) for c in concerned}), tell=tell)


def forming_readers(exchange: str, names: Iterable[str]) -> dict[str, list[LegacyKey]]:
    """By symbol, the predecessor's keys whose readers are told of the forming 5m candle; none but in dual."""
    if exchange not in numbers(Mode.DUAL):
        return {}
    known = readers((exchange, name) for name in names)
    return {name: [k for k in of if k.timeframe == BASE_TIMEFRAME] for (_, name), of in known.items() if of}


@unavailable()
def readers(names: Iterable[tuple[str, str]]) -> dict[tuple[str, str], dict[LegacyKey, bool]]:
    """By symbol: the predecessor's keys of it, and whether what was there before us has been copied."""
    wanted = sorted(names)
    pipe = state_redis().pipeline(transaction=False)
    for name in wanted:
        pipe.hgetall(legacy_keys.series(*name))
    return {name: dict(_parsed(found)) for name, found in zip(wanted, pipe.execute(), strict=True)}


@unavailable()
def write(
    candles: Iterable[Candle], known: Mapping[tuple[str, str], Mapping[LegacyKey, bool]], *, tell: bool = False
) -> int:
    """Candles into the predecessor's keys of their series; how many members changed.

    A key gets an expiry only once its own bars are copied: before, they are nowhere else.
    """
    script = state_redis().register_script(_MIRROR)
    pipe = state_redis().pipeline(transaction=False)
    for candle in candles:
        for key, is_copied in known[candle.exchange, candle.symbol].items():
            if key.timeframe == candle.timeframe:
                channel = key.channel_closed if tell else ""
                life_s = COPY_S if is_copied else 0
                args = [candle.open_ms, text(candle, key.symbol, key.timeframe), window.KEPT, life_s, channel]
                script(keys=[str(key)], args=args, client=pipe)
    return sum(pipe.execute())


@unavailable()
def read(
    exchange: str,
    names: tuple[str, str],
    timeframe: Timeframe,
    user: int,
    span_ms: tuple[int, int] | None,
    count: int,
) -> list[Candle]:
    """The newest bars of this user's own keys of the predecessor, oldest first; `names` are canonical and native.

    None once the exchange is cut over. What cannot be read is left out.
    """
    number = numbers(*READ).get(exchange)
    if number is None:
        return []
    bars: dict[int, Candle] = {}
    for spelled in reversed(dict.fromkeys(names)):
        key = str(LegacyKey(user, number, spelled, str(timeframe)))
        if span_ms is None:
            members = state_redis().zrange(key, -count, -1)
        else:
            members = state_redis().zrevrangebyscore(key, f"({span_ms[1]}", span_ms[0], start=0, num=count)
        bars |= {c.open_ms: c for c in readable(exchange, names[0], timeframe, members)}
    return [bars[ms] for ms in sorted(bars)[-count:]]


def readable(exchange: str, symbol: str, timeframe: Timeframe, members: Iterable[bytes]) -> Iterator[Candle]:
    """Those members that are candles."""
    for member in members:
        try:
            yield value(exchange, symbol, timeframe, member)
        except InvalidInput:
            continue


def _parsed(found: Mapping[bytes, Any]) -> Iterator[tuple[LegacyKey, bool]]:
    for name, copied in found.items():
        if (key := legacy_keys.parse(name.decode())) is not None:
            yield key, bool(copied)
