"""From a batch of raw frames to stored slabs: the hot path; it never touches the database but for names."""

from __future__ import annotations

import json
import logging
import time
from base64 import b64encode
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from candles import ledger, slab
from candles.preview import Preview
from candles.slab import Slab
from exchanges import registry, wire
from exchanges.state import state_redis, unavailable
from exchanges.venue import Mapped, Venue
from livermore.core import keys
from livermore.core.errors import FrameRejected
from livermore.core.frame import FrameBatch
from livermore.core.symbol import Symbol, SymbolBook
from livermore.core.trade import Trade
from livermore.logs import event
from symbols import services as symbols

log = logging.getLogger(__name__)

BOOK_LIFE_S = 30.0
JUMP = Decimal("0.2")
"""A price this far from the last one is set aside unless another venue is near it; REST is then the judge."""
NEAR = Decimal("0.05")
QUARANTINE_KEPT = 100
SAMPLE_BYTES = 2_000

_books: dict[str, tuple[float, SymbolBook]] = {}
_previews: dict[str, Preview] = {}


@dataclass(slots=True)
class Ingested:
    """What a batch held. `unknown` natives want an instrument sync; `bases` have new quotes."""

    batch: str
    exchange: str
    frames: int
    trades: int = 0
    unknown: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    bases: set[str] = field(default_factory=set)


@unavailable()
def ingest(body: dict[str, Any]) -> Ingested:
    """Store a batch. Doing it twice stores the same bytes. Raises `FrameRejected` for an unreadable body."""
    batch = wire.unpack(body)
    venue = registry.venue(batch.exchange)
    mapped = venue.mapper(batch.frames, _book(batch.exchange))
    if mapped.unknown:
        mapped = _with_fresh_book(venue, batch, mapped)
    result = Ingested(batch.id, batch.exchange, len(batch.frames), unknown=mapped.unknown)
    pipe = state_redis().pipeline(transaction=False)
    for index, why in mapped.rejected:
        _set_aside(pipe, result, why, batch.frames[index])
    for name, count in mapped.unknown_fields.items():
        pipe.hincrby(keys.drift(batch.exchange), name, count)
    preview = _previews.setdefault(batch.exchange, Preview(batch.exchange))
    stored: dict[tuple[str, int], Slab] = {}
    for (symbol, open_ms), columns in slab.group(mapped.trades, batch.received_ns).items():
        good, prices, quantities = _sane(pipe, result, venue, batch, preview, symbol, columns)
        if good is not None:
            stored[symbol, open_ms] = good
            preview.stage(pipe, symbol, open_ms, good, prices, quantities)
            result.trades += len(prices)
            result.bases.add(Symbol.parse(symbol).base)
    now_ms = time.time_ns() // 1_000_000
    ledger.stage(pipe, batch.exchange, batch.id, stored, now_ms)
    if result.bases:
        pipe.zadd(keys.touched(), dict.fromkeys(result.bases, now_ms))
    ledger.stage_number(pipe, batch.exchange, batch.connection, batch.number)
    pipe.execute()
    if result.rejected or result.unknown:
        event(
            log, "batch.rejected", logging.WARNING, batch=batch.id, exchange=batch.exchange,
            rejected=dict(result.rejected), unknown=dict(result.unknown.most_common(5)),
        )  # fmt: skip
    return result


@unavailable()
def reject_batch(body: dict[str, Any], why: str) -> None:
    """Count and log a whole batch that cannot be read."""
    exchange = str(body.get("exchange", "unknown")) if isinstance(body, dict) else "unknown"
    state_redis().hincrby(keys.rejected(exchange), why, 1)
    event(log, "batch.unreadable", logging.ERROR, exchange=exchange, why=why)


@unavailable()
def should_sync(exchange: str, again_s: int) -> bool:
    """True at most once in `again_s` seconds: unknown symbols want a fresh instrument list."""
    return bool(state_redis().set(keys.sync_asked(exchange), 1, nx=True, ex=again_s))


def _book(exchange: str) -> SymbolBook:
    loaded_at, book = _books.get(exchange, (0.0, SymbolBook(exchange)))
    if time.monotonic() - loaded_at > BOOK_LIFE_S or not book.names:
        book = symbols.book(exchange)
        _books[exchange] = (time.monotonic(), book)
    return book


def _with_fresh_book(venue: Venue, batch: FrameBatch, mapped: Mapped) -> Mapped:
    """An unknown name may have been listed since the book was read: look once more, then believe it."""
    if time.monotonic() - _books[batch.exchange][0] < 1.0:
        return mapped
    _books.pop(batch.exchange)
    return venue.mapper(batch.frames, _book(batch.exchange))


def _sane(
    pipe: Any,
    result: Ingested,
    venue: Venue,
    batch: FrameBatch,
    preview: Preview,
    symbol: str,
    columns: Slab,
) -> tuple[Slab | None, list[Decimal], list[Decimal]]:
    """The slab without nonsense. The whole column is judged at once; only a bad one is taken apart."""
    reference = preview.last_price(symbol)
    try:
        prices, quantities = slab.numbers(columns.prices), slab.numbers(columns.quantities)
        if reference is None or (max(prices) < reference * (1 + JUMP) and min(prices) > reference * (1 - JUMP)):
            return columns, prices, quantities
    except FrameRejected:
        reference = reference or None
    trades = [
        Trade(symbol, *row)
        for row in zip(
            columns.times_ns, columns.ids, columns.executions, columns.prices, columns.quantities, columns.buys,
            strict=True,
        )
    ]  # fmt: skip
    good = []
    for trade in trades:
        why = _objection(batch.exchange, trade, reference)
        if why:
            _set_aside(pipe, result, why, _frame_of(venue, batch, trade))
        else:
            good.append(trade)
    if not good:
        return None, [], []
    (kept,) = slab.group(good, columns.received_ns).values()
    return kept, slab.numbers(kept.prices), slab.numbers(kept.quantities)


def _objection(exchange: str, trade: Trade, reference: Decimal | None) -> str:
    """Why this trade is not believed; empty when it is."""
    try:
        (price,) = slab.numbers([trade.price])
        slab.numbers([trade.quantity])
    except FrameRejected as error:
        return error.why
    if reference is None or abs(price / reference - 1) <= JUMP:
        return ""
    found = state_redis().hgetall(keys.quotes(Symbol.parse(trade.symbol).base))
    others = [Decimal(value.decode().split("|")[0]) for name, value in found.items() if not _is_of(name, exchange)]
    return "" if any(abs(price / other - 1) <= NEAR for other in others) else "price jumped"


def _is_of(name: bytes, exchange: str) -> bool:
    return name.decode().partition("|")[0] == exchange


def _frame_of(venue: Venue, batch: FrameBatch, trade: Trade) -> bytes:
    """The raw frame a trade came in; found by mapping frame by frame, which only bad batches pay."""
    book = _book(batch.exchange)
    return next((frame for frame in batch.frames if trade in venue.mapper([frame], book).trades), b"")


def _set_aside(pipe: Any, result: Ingested, why: str, frame: bytes) -> None:
    result.rejected[why] += 1
    pipe.hincrby(keys.rejected(result.exchange), why, 1)
    sample = {"batch": result.batch, "why": why, "at_ms": time.time_ns() // 1_000_000}
    sample["frame_b64"] = b64encode(frame[:SAMPLE_BYTES]).decode()
    pipe.lpush(keys.quarantine(result.exchange), json.dumps(sample))
    pipe.ltrim(keys.quarantine(result.exchange), 0, QUARANTINE_KEPT - 1)
