"""What a stream and its host leave in Redis, put there by hand: slabs and the stream's state."""

from __future__ import annotations

import time
from collections.abc import Iterable

import redis

from candles import ledger, slab
from livermore.core import keys
from livermore.core.trade import Trade
from tests.support.trades import BUCKET_MS, Made


def now_ms() -> int:
    """Our clock; slabs expire by it."""
    return time.time_ns() // 1_000_000


def past(buckets: int, *, aligned_ms: int = BUCKET_MS) -> int:
    """The open of an interval that ended so many buckets before now, or earlier to be aligned."""
    open_ms = now_ms() - now_ms() % BUCKET_MS - buckets * BUCKET_MS
    return open_ms - open_ms % aligned_ms


def streamed(client: redis.Redis, exchange: str, *, since_ms: int, state: str = "streaming", heard_ms: int = 0) -> None:
    """The host says that the exchange streams without interruption since then (0: it does not)."""
    told = {"state": state, "since_ms": since_ms or "", "updated_ms": heard_ms or now_ms() + 60_000}
    client.hset(keys.stream(exchange), mapping=told)


def trade(made: Made, symbol: str) -> Trade:
    """As a mapper gives it."""
    return Trade(symbol, made.time_ms * 1_000_000, made.id, 1, made.price, made.quantity, made.is_buy)


def store(exchange: str, symbol: str, made: Iterable[Made], field: str = "c:0") -> None:
    """Store a batch's slabs as ingest does."""
    trades = [trade(one, symbol) for one in made]
    ledger.store(exchange, field, slab.group(trades, now_ms() * 1_000_000), now_ms())
