"""Redis: the slabs of open buckets, and the index of buckets that are due to be folded."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import zstandard

from candles import slab
from candles.slab import Slab
from exchanges.state import state_redis, unavailable
from livermore.core import keys
from livermore.core.candle import BUCKET_MS

GRACE_MS = 2_000
"""A bucket is folded so long after its end (indicators.md §3.7)."""
LEASE_MS = 30_000
SLAB_LIFE_MS = 30 * 60_000
NUMBERS_LIFE_S = 2 * 3600
EDGES_KEPT = 24

# Take what is due and push it a lease into the future: whoever folds it has that long.
_CLAIM = """
local members = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[3])
for _, member in ipairs(members) do redis.call('ZADD', KEYS[1], ARGV[2], member) end
return members
"""
# Done, unless data arrived (or the lease ran out and somebody else claimed) meanwhile: then the score moved.
_SETTLE = """
local settled = 0
for i = 2, #ARGV do
  if redis.call('ZSCORE', KEYS[1], ARGV[i]) == ARGV[1] then settled = settled + redis.call('ZREM', KEYS[1], ARGV[i]) end
end
return settled
"""


@dataclass(frozen=True, slots=True, order=True)
class Bucket:
    """A 5-minute bucket of a canonical symbol, named by its open."""

    symbol: str
    open_ms: int

    @property
    def end_ms(self) -> int:
        """The first millisecond after it."""
        return self.open_ms + BUCKET_MS

    @property
    def member(self) -> str:
        """Its name in the due index."""
        return f"{self.symbol}|5m|{self.open_ms}"

    @classmethod
    def of(cls, member: bytes | str) -> Bucket:
        """The bucket of a due index member."""
        text = member.decode() if isinstance(member, bytes) else member
        symbol, _, open_ms = text.split("|")
        return cls(symbol, int(open_ms))


def stage(
    pipe: Any, exchange: str, field: str, slabs: Mapping[tuple[str, int], Slab], now_ms: int
) -> None:
    """Add to `pipe` the commands that store slabs under `field` and make their buckets due.

    A repeat writes the same bytes to the same fields. A bucket that is already over becomes due at once.
    """
    scores: dict[str | bytes, float] = {}
    for (symbol, open_ms), columns in slabs.items():
        key = keys.trades(exchange, symbol, open_ms)
        end_ms = open_ms + BUCKET_MS
        pipe.hset(key, field, slab.encode(columns))
        pipe.pexpireat(key, max(end_ms, now_ms) + SLAB_LIFE_MS)
        scores[Bucket(symbol, open_ms).member] = max(end_ms + GRACE_MS, now_ms)
    if scores:
        pipe.zadd(keys.due(exchange), scores)


def stage_number(pipe: Any, exchange: str, connection: str, number: int) -> None:
    """Add to `pipe`, last, that this batch's slabs are stored."""
    key = keys.batches(exchange, connection)
    pipe.setbit(key, number, 1)
    pipe.expire(key, NUMBERS_LIFE_S)


@unavailable()
def store(exchange: str, field: str, slabs: Mapping[tuple[str, int], Slab], now_ms: int) -> None:
    """Store slabs that did not come in a batch (fetched by REST)."""
    pipe = state_redis().pipeline(transaction=False)
    stage(pipe, exchange, field, slabs, now_ms)
    pipe.execute()


@unavailable()
def slabs(exchange: str, buckets: Sequence[Bucket]) -> list[dict[str, Slab | None]]:
    """The slabs of each bucket, by field; None for one that cannot be read."""
    pipe = state_redis().pipeline(transaction=False)
    for bucket in buckets:
        pipe.hgetall(keys.trades(exchange, bucket.symbol, bucket.open_ms))
    return [{field.decode(): _read(stored) for field, stored in found.items()} for found in pipe.execute()]


def _read(stored: bytes) -> Slab | None:
    try:
        return slab.decode(stored)
    except (msgspec.DecodeError, zstandard.ZstdError):
        return None


@unavailable()
def count_rejected(exchange: str, why: str, count: int) -> None:
    """Count what was set aside after it had been stored."""
    state_redis().hincrby(keys.rejected(exchange), why, count)


@unavailable()
def claim(exchange: str, now_ms: int, limit: int) -> list[Bucket]:
    """Take up to `limit` due buckets for `LEASE_MS`; settle them with `lease(now_ms)`."""
    return [Bucket.of(member) for member in claim_members(exchange, now_ms, limit)]


@unavailable()
def claim_members(index: str, now_ms: int, limit: int) -> list[str]:
    """The same for any due index: an exchange's, or that of the signals (members `base|timeframe|open`)."""
    members = state_redis().eval(_CLAIM, 1, keys.due(index), now_ms, lease(now_ms), limit)
    return [member.decode() for member in members]


def lease(now_ms: int) -> int:
    """The score that a claim at `now_ms` gives."""
    return now_ms + LEASE_MS


@unavailable()
def settle(exchange: str, buckets: Iterable[Bucket], lease_ms: int) -> int:
    """Take folded buckets off the index, unless they became due again meanwhile. How many went."""
    return settle_members(exchange, [bucket.member for bucket in buckets], lease_ms)


@unavailable()
def settle_members(index: str, members: Sequence[str], lease_ms: int) -> int:
    """The same for any due index."""
    return int(state_redis().eval(_SETTLE, 1, keys.due(index), lease_ms, *members)) if members else 0


@unavailable()
def mark(exchange: str, buckets: Iterable[Bucket], *, now_ms: int, again: bool = False) -> None:
    """Make buckets due at their time even if nothing was traded; `again` also those folded before."""
    scores = {bucket.member: max(bucket.end_ms + GRACE_MS, now_ms if again else 0) for bucket in buckets}
    if scores:
        state_redis().zadd(keys.due(exchange), scores, nx=not again)


@unavailable()
def edges(exchange: str, buckets: Collection[Bucket]) -> list[tuple[Edge | None, Edge | None]]:
    """For each bucket, the id borders of the one before and of the one after, where folded."""
    pipe = state_redis().pipeline(transaction=False)
    for bucket in buckets:
        before, after = bucket.open_ms - BUCKET_MS, bucket.end_ms
        pipe.hmget(keys.edges(exchange, bucket.symbol), before, after)
    return [(Edge.read(before), Edge.read(after)) for before, after in pipe.execute()]


@dataclass(frozen=True, slots=True)
class Edge:
    """First and last trade id of a folded bucket, and whether it is proven.

    A quiet bucket carries the last id before it on both sides: `first = last + 1`.
    """

    first: int
    last: int
    is_proven: bool

    @classmethod
    def read(cls, stored: bytes | None) -> Edge | None:
        """From the stored text."""
        if stored is None:
            return None
        first, last, proven = stored.decode().split(":")
        return cls(int(first), int(last), proven == "1")


@unavailable()
def keep_edges(exchange: str, found: Mapping[Bucket, Edge]) -> None:
    """Remember the borders of folded buckets; old ones go."""
    pipe = state_redis().pipeline(transaction=False)
    for bucket, edge in found.items():
        key = keys.edges(exchange, bucket.symbol)
        pipe.hset(key, str(bucket.open_ms), f"{edge.first}:{edge.last}:{int(edge.is_proven)}")
        pipe.hdel(key, str(bucket.open_ms - EDGES_KEPT * BUCKET_MS))
        pipe.expire(key, EDGES_KEPT * BUCKET_MS // 1000)
    pipe.execute()
