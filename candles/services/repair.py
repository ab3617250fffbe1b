"""Gaps: noting them, and closing them with trades that the venue's REST gives again."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import Max
from django.utils import timezone

from candles import ledger, slab
from candles.fold import REST_FIELD
from candles.ledger import Bucket
from candles.models import Candle
from candles.models import Gap as GapRow
from exchanges import registry
from exchanges.services import rest
from exchanges.venue import Backfill
from livermore.core.candle import BASE_TIMEFRAME, BUCKET_MS, BUCKET_NS, Source
from livermore.core.errors import FrameRejected
from livermore.core.gap import Cause, Gap
from livermore.core.trade import Trade
from livermore.logs import event
from symbols.models import ExchangeSymbol

log = logging.getLogger(__name__)

LONGEST_NS = 24 * 3600 * 1_000_000_000
"""A start looks back no further for what was missed while nothing ran; older history comes as klines."""


@dataclass(frozen=True, slots=True)
class Repair:
    """Trades to fetch again: whole 5-minute buckets of one symbol, not before `ready_ms`."""

    exchange: str
    symbol: str
    from_ms: int
    to_ms: int
    ready_ms: int


def note(gap: Gap) -> list[Repair]:
    """Write the gap down, one row a symbol; returns what must be fetched. Noting it twice changes nothing."""
    from_ns = gap.from_ns
    if gap.cause is Cause.START:
        from_ns = _since_last_recorded(gap)
    rows = [
        GapRow(
            exchange_id=gap.exchange, symbol=symbol, from_ns=from_ns, to_ns=gap.to_ns, cause=str(gap.cause),
            connection=gap.connection,
        )
        for symbol in gap.symbols
    ]  # fmt: skip
    GapRow.objects.bulk_create(rows, ignore_conflicts=True)
    open_rows = GapRow.objects.filter(
        exchange_id=gap.exchange, connection=gap.connection, from_ns=from_ns, to_ns=gap.to_ns, closed_at=None
    )
    event(log, "gap.opened", exchange=gap.exchange, cause=gap.cause, symbols=len(rows), seconds=_seconds(from_ns, gap))
    return [_repair(gap.exchange, row.symbol, from_ns, gap.to_ns) for row in open_rows]


def note_holes(exchange: str, buckets: Iterable[Bucket]) -> list[Repair]:
    """Holes in trade ids are gaps of their bucket and the one before; each is asked for once."""
    repairs = []
    for bucket in buckets:
        from_ns, to_ns = (bucket.open_ms - BUCKET_MS) * 1_000_000, bucket.end_ms * 1_000_000
        _, is_new = GapRow.objects.get_or_create(
            exchange_id=exchange, symbol=bucket.symbol, from_ns=from_ns, to_ns=to_ns, connection="",
            defaults={"cause": str(Cause.IDS)},
        )  # fmt: skip
        if is_new:
            repairs.append(_repair(exchange, bucket.symbol, from_ns, to_ns))
    return repairs


def repair(wanted: Repair) -> int:
    """Fetch the trades of these buckets, store them, close the gaps they prove; how many trades came.

    Raises what the venue's REST raises (`Transient`: try again). Trades that are nonsense are left out, as
    on the stream.
    """
    symbol = ExchangeSymbol.objects.filter(exchange_id=wanted.exchange, name=wanted.symbol).first()
    if symbol is None or registry.venue(wanted.exchange).backfill not in (Backfill.BY_ID, Backfill.BY_TIME):
        return 0
    now_ms = time.time_ns() // 1_000_000
    to_ms = min(wanted.to_ms, now_ms)
    found = rest(wanted.exchange).trades(symbol.native, wanted.symbol, wanted.from_ms, to_ms)
    trades = [trade for trade in found if _is_sane(trade)]
    field = f"{REST_FIELD}{wanted.from_ms}-{to_ms}"
    ledger.store(wanted.exchange, field, slab.group(trades, now_ms * 1_000_000), now_ms)
    closed = GapRow.objects.filter(
        exchange_id=wanted.exchange, symbol=wanted.symbol, closed_at=None,
        from_ns__gte=wanted.from_ms * 1_000_000, to_ns__lte=to_ms * 1_000_000,
    ).update(
        closed_at=timezone.now(), method="trades", proof=f"{len(trades)} trades by REST [{wanted.from_ms}, {to_ms})"
    )  # fmt: skip
    over = range(wanted.from_ms, to_ms - to_ms % BUCKET_MS, BUCKET_MS)
    ledger.mark(wanted.exchange, [Bucket(wanted.symbol, open_ms) for open_ms in over], now_ms=now_ms, again=True)
    event(log, "gap.repaired", exchange=wanted.exchange, symbol=wanted.symbol, trades=len(trades), closed=closed)
    return len(trades)


def _repair(exchange: str, symbol: str, from_ns: int, to_ns: int) -> Repair:
    first = from_ns - from_ns % BUCKET_NS
    last = -(-to_ns // BUCKET_NS) * BUCKET_NS
    return Repair(exchange, symbol, first // 1_000_000, last // 1_000_000, to_ns // 1_000_000 + 1)


def _since_last_recorded(gap: Gap) -> int:
    """A start also misses whatever happened since our newest candle, while nothing ran."""
    opens = Candle.objects.filter(
        symbol__exchange_id=gap.exchange, timeframe=str(BASE_TIMEFRAME), source=str(Source.TRADES),
        open_ms__gte=(gap.to_ns - LONGEST_NS) // 1_000_000,
    )  # fmt: skip
    newest = opens.aggregate(newest=Max("open_ms"))["newest"]
    bucket_ns = gap.from_ns - gap.from_ns % BUCKET_NS
    return bucket_ns if newest is None else min(bucket_ns, (newest + BUCKET_MS) * 1_000_000)


def _is_sane(trade: Trade) -> bool:
    try:
        slab.numbers([trade.price])
        slab.numbers([trade.quantity])
    except FrameRejected:
        return False
    return True


def _seconds(from_ns: int, gap: Gap) -> float:
    return round((gap.to_ns - from_ns) / 1e9, 1)
