"""From a batch of raw frames to stored slabs: the hot path; it never touches the database but for names."""

from __future__ import annotations

import logging
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.db import DatabaseError

from candles import ledger, legacy, slab
from candles.outlier import is_near
from candles.preview import Preview, base_of
from candles.services import arrivals, continuity, drift, quarantine
from candles.slab import Slab
from exchanges import registry, tally, wire
from exchanges.state import state_redis, unavailable
from exchanges.venue import Mapped, Venue
from livermore.core import keys
from livermore.core.errors import FrameRejected, StoreUnavailable
from livermore.core.frame import FrameBatch
from livermore.core.gap import Gap
from livermore.core.symbol import SymbolBook
from livermore.core.trade import Trade
from livermore.logs import bind, event
from symbols import services as symbols

log = logging.getLogger(__name__)

BOOK_LIFE_S = 30.0
READERS_LIFE_S = 30.0

_books: dict[str, tuple[float, SymbolBook]] = {}
_previews: dict[str, Preview] = {}
_looked: dict[str, float] = {}


@dataclass(slots=True)
class Ingested:
    """What a batch held. `unknown` natives want an instrument sync; `bases` have new quotes; `gaps` became certain."""

    batch: str
    exchange: str
    frames: int
    trades: int = 0
    unknown: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    unknown_fields: Counter[str] = field(default_factory=Counter)
    bases: set[str] = field(default_factory=set)
    gaps: list[Gap] = field(default_factory=list)


@unavailable()
def ingest(body: dict[str, Any]) -> Ingested:
    """Store a batch. Doing it twice stores the same bytes.

    A batch of a lease that somebody else has by now is set aside where its trades could count twice; what it held
    is a gap. Raises `FrameRejected` for an unreadable body.
    """
    batch = _unpacked(body)
    venue = registry.venue(batch.exchange)
    if arrivals.is_stale(venue, batch):
        return _refused(body, batch)
    mapped = _mapped(venue, batch)
    result = Ingested(
        batch.id, batch.exchange, len(batch.frames), unknown=mapped.unknown, unknown_fields=mapped.unknown_fields
    )
    pipe = state_redis().pipeline(transaction=False)
    for index, why in mapped.rejected:
        _set_aside(pipe, result, why, batch.frames[index])
    preview = _preview(batch.exchange)
    stored: dict[tuple[str, int], Slab] = {}
    for (symbol, open_ms), columns in slab.group(mapped.trades, batch.received_ns).items():
        sane = _sane(pipe, result, venue, batch, symbol, columns)
        if sane is None:
            continue
        stored[symbol, open_ms] = sane[0]
        result.trades += len(sane[1])
        shown = _shown(pipe, result, venue, batch, preview, symbol, sane)
        if shown is not None:
            preview.stage(pipe, symbol, open_ms, *shown, batch.id)
            result.bases.add(base_of(symbol))
    now_ms = time.time_ns() // 1_000_000
    ledger.stage(pipe, batch.exchange, batch.id, stored, now_ms)
    if result.bases:
        pipe.zadd(keys.touched(), dict.fromkeys(result.bases, now_ms))
    arrivals.stage(pipe, batch, now_ms)
    ledger.stage_number(pipe, batch.exchange, batch.connection, batch.number)
    drift.stage(pipe, batch.exchange, result.rejected, result.unknown_fields, now_ms)
    pipe.execute()
    result.gaps = continuity.look(venue, batch, stored)
    _tell(result, batch)
    return result


def _preview(exchange: str) -> Preview:
    preview = _previews.setdefault(exchange, Preview(exchange))
    looked, now = _looked.get(exchange, -READERS_LIFE_S), time.monotonic()
    if now - looked >= READERS_LIFE_S:
        _looked[exchange] = now
        # Without the database they are who they were: a preview is no reason to fail.
        with suppress(DatabaseError):
            preview.legacy_readers = legacy.forming_readers(exchange, set(_book(exchange).names.values()))
    return preview


def _unpacked(body: dict[str, Any]) -> FrameBatch:
    """The batch, whose id every line of this task carries from now on."""
    batch = wire.unpack(body)
    bind(batch=batch.id)
    return batch


def _tell(result: Ingested, batch: FrameBatch) -> None:
    """Counts; and one line a batch, and alarms, only where something was wrong."""
    counts = ((tally.BATCHES, 1), (tally.FRAMES, result.frames), (tally.TRADES, result.trades))
    for kind, count in (*counts, (tally.REJECTED, result.rejected.total())):
        tally.add(kind, result.exchange, by=count)
    delay_s = max(0.0, (time.time_ns() - batch.received_ns) / 1e9)
    tally.observe(tally.INGEST_DELAY, result.exchange, value=delay_s)
    event(
        log, "batch.stored", logging.DEBUG, batch=result.batch, exchange=result.exchange, frames=result.frames,
        trades=result.trades, delay_s=round(delay_s, 3),
    )  # fmt: skip
    if result.rejected or result.unknown_fields:
        drift.alarm(result.exchange, result.batch, result.rejected, result.unknown_fields)
    if result.rejected or result.unknown:
        event(
            log, "batch.rejected", logging.WARNING, batch=result.batch, exchange=result.exchange,
            rejected=dict(result.rejected), unknown=dict(result.unknown.most_common(5)),
        )  # fmt: skip


def _mapped(venue: Venue, batch: FrameBatch) -> Mapped:
    mapped = venue.mapper(batch.frames, _book(batch.exchange))
    return _with_fresh_book(venue, batch, mapped) if mapped.unknown else mapped


def _refused(body: dict[str, Any], batch: FrameBatch) -> Ingested:
    reject_batch(body, "batch of an older lease")
    gaps = [arrivals.refused(batch)] if batch.arrivals else []
    return Ingested(batch.id, batch.exchange, len(batch.frames), gaps=gaps)


@unavailable()
def reject_batch(body: dict[str, Any], why: str) -> None:
    """Count and log a whole batch that is not taken."""
    exchange = str(body.get("exchange", "unknown")) if isinstance(body, dict) else "unknown"
    pipe = state_redis().pipeline(transaction=False)
    drift.stage(pipe, exchange, Counter({why: 1}), Counter(), time.time_ns() // 1_000_000)
    pipe.execute()
    event(log, "batch.refused", logging.ERROR, exchange=exchange, why=why)


@unavailable()
def should_sync(exchange: str, again_s: int) -> bool:
    """True at most once in `again_s` seconds: unknown symbols want a fresh instrument list."""
    return bool(state_redis().set(keys.sync_asked(exchange), 1, nx=True, ex=again_s))


def _book(exchange: str) -> SymbolBook:
    """The names of an exchange, read again every half minute.

    Raises `StoreUnavailable` when the database does not answer and nothing is known yet.
    """
    loaded_at, book = _books.get(exchange, (0.0, SymbolBook(exchange)))
    if time.monotonic() - loaded_at > BOOK_LIFE_S or not book.names:
        try:
            book = symbols.book(exchange)
        except DatabaseError as error:
            if not book.names:
                raise StoreUnavailable(f"the database does not answer: {error}") from error
            event(log, "book.stale", logging.WARNING, exchange=exchange, error=error)
        _books[exchange] = (time.monotonic(), book)
    return book


def _with_fresh_book(venue: Venue, batch: FrameBatch, mapped: Mapped) -> Mapped:
    """An unknown name may have been listed since the book was read: look once more, then believe it."""
    if time.monotonic() - _books[batch.exchange][0] < 1.0:
        return mapped
    _books.pop(batch.exchange)
    return venue.mapper(batch.frames, _book(batch.exchange))


def _sane(
    pipe: Any, result: Ingested, venue: Venue, batch: FrameBatch, symbol: str, columns: Slab
) -> tuple[Slab, list[Decimal], list[Decimal]] | None:
    """The slab without nonsense, None when nothing is left.

    The whole column is judged at once; only a bad one is taken apart.
    """
    try:
        return columns, slab.numbers(columns.prices), slab.numbers(columns.quantities)
    except FrameRejected:
        good = []
    for trade in _trades(symbol, columns):
        try:
            slab.numbers([trade.price])
            slab.numbers([trade.quantity])
            good.append(trade)
        except FrameRejected as error:
            _set_aside(pipe, result, error.why, _frame_of(venue, batch, trade))
    if not good:
        return None
    (kept,) = slab.group(good, columns.received_ns).values()
    return kept, slab.numbers(kept.prices), slab.numbers(kept.quantities)


def _shown(
    pipe: Any,
    result: Ingested,
    venue: Venue,
    batch: FrameBatch,
    preview: Preview,
    symbol: str,
    sane: tuple[Slab, list[Decimal], list[Decimal]],
) -> tuple[Slab, list[Decimal], list[Decimal]] | None:
    """What screens may show: without prices that jump alone. They are stored all the same.

    Whether such a trade belongs to its candle is decided at the fold, which sees the whole bucket.
    """
    columns, prices, _ = sane
    reference = preview.last_price(symbol)
    if reference is None or (is_near(max(prices), reference) and is_near(min(prices), reference)):
        return sane
    calm = []
    for trade, price in zip(_trades(symbol, columns), prices, strict=True):
        if is_near(price, reference) or preview.is_confirmed(symbol, price):
            calm.append(trade)
        else:
            _set_aside(pipe, result, drift.JUMPED, _frame_of(venue, batch, trade))
    if not calm:
        return None
    (kept,) = slab.group(calm, columns.received_ns).values()
    return kept, slab.numbers(kept.prices), slab.numbers(kept.quantities)


def _trades(symbol: str, columns: Slab) -> list[Trade]:
    rows = zip(
        columns.times_ns, columns.ids, columns.executions, columns.prices, columns.quantities, columns.buys,
        strict=True,
    )  # fmt: skip
    return [Trade(symbol, *row) for row in rows]


def _frame_of(venue: Venue, batch: FrameBatch, trade: Trade) -> bytes:
    """The raw frame a trade came in; found by mapping frame by frame, which only bad batches pay."""
    book = _book(batch.exchange)
    return next((frame for frame in batch.frames if trade in venue.mapper([frame], book).trades), b"")


def _set_aside(pipe: Any, result: Ingested, why: str, frame: bytes) -> None:
    result.rejected[drift.reason(why)] += 1
    quarantine.stage(pipe, result.exchange, result.batch, why, frame)
