"""Gaps: noting them, and closing them with trades that the venue's REST gives again."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from django.db.models import Max
from django.utils import timezone

from candles import ledger, slab
from candles.fold import REST_FIELD
from candles.ledger import Bucket
from candles.models import Candle
from candles.models import Gap as GapRow
from exchanges import registry, tally
from exchanges.services import rest
from exchanges.venue import Backfill
from livermore.core.candle import BASE_TIMEFRAME, BUCKET_MS, BUCKET_NS, Quality, Source
from livermore.core.errors import FrameRejected
from livermore.core.gap import Cause, Gap
from livermore.core.trade import Trade
from livermore.logs import event
from symbols import services as symbols
from symbols.models import ExchangeSymbol

log = logging.getLogger(__name__)

LONGEST_NS = 24 * 3600 * 1_000_000_000
"""Trades are fetched no further back; older history comes as klines."""
PAGE_MS = 6 * BUCKET_MS
"""One task fetches so much: a busy symbol's half hour fits well into a task's time limit."""


@dataclass(frozen=True, slots=True)
class Repair:
    """Trades to fetch again: whole 5-minute buckets of one symbol, not before `ready_ms`.

    Those before `done_ms` have been fetched.
    """

    exchange: str
    symbol: str
    from_ms: int
    to_ms: int
    ready_ms: int
    done_ms: int = 0


def note(gap: Gap) -> list[Repair]:
    """Write the gap down, one row a symbol; returns what must be fetched. Noting it twice changes nothing."""
    names = gap.symbols or tuple(symbols.streamed_names(gap.exchange).values())
    earliest_ns = max(gap.from_ns, gap.to_ns - LONGEST_NS)
    starts = _since_last_recorded(gap, names) if gap.cause is Cause.START else {}
    rows = [
        GapRow(
            exchange_id=gap.exchange, symbol=symbol, from_ns=starts.get(symbol, earliest_ns), to_ns=gap.to_ns,
            cause=str(gap.cause), connection=gap.connection,
        )
        for symbol in names
    ]  # fmt: skip
    GapRow.objects.bulk_create(rows, ignore_conflicts=True)
    open_rows = GapRow.objects.filter(
        exchange_id=gap.exchange, connection=gap.connection, to_ns=gap.to_ns, symbol__in=names, closed_at=None
    )
    tally.add(tally.GAPS, gap.exchange, str(gap.cause))
    longest_s = max((round((gap.to_ns - row.from_ns) / 1e9, 1) for row in rows), default=0)
    event(log, "gap.opened", exchange=gap.exchange, cause=gap.cause, symbols=len(rows), seconds=longest_s)
    return [_repair(gap.exchange, row.symbol, row.from_ns, row.to_ns) for row in open_rows]


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
            tally.add(tally.GAPS, exchange, str(Cause.IDS))
            repairs.append(_repair(exchange, bucket.symbol, from_ns, to_ns))
    return repairs


def repair(wanted: Repair) -> Repair | None:
    """Fetch a page of these trades and store them; returns what is left to do, None at the end.

    With the last page the gaps that all of it proves are closed. Raises what the venue's REST raises
    (`Transient`: try again). Trades that are nonsense are left out, as on the stream.
    """
    named = ExchangeSymbol.objects.filter(exchange_id=wanted.exchange, name=wanted.symbol)
    symbol = named.order_by("-is_trading").first()
    if symbol is None or registry.venue(wanted.exchange).backfill not in (Backfill.BY_ID, Backfill.BY_TIME):
        return None
    now_ms = time.time_ns() // 1_000_000
    end_ms = min(wanted.to_ms, now_ms)
    from_ms = max(wanted.from_ms, wanted.done_ms)
    to_ms = min(from_ms + PAGE_MS, end_ms)
    found = rest(wanted.exchange).trades(symbol.native, wanted.symbol, from_ms, to_ms)
    trades = [trade for trade in found if _is_sane(trade)]
    ledger.store(wanted.exchange, f"{REST_FIELD}{from_ms}-{to_ms}", slab.group(trades, now_ms * 1_000_000), now_ms)
    left = replace(wanted, done_ms=to_ms) if to_ms < end_ms else None
    closed = 0 if left else _close_gaps(wanted, end_ms)
    over = range(from_ms, to_ms - to_ms % BUCKET_MS, BUCKET_MS)
    ledger.mark(wanted.exchange, [Bucket(wanted.symbol, open_ms) for open_ms in over], now_ms=now_ms, again=True)
    event(
        log, "gap.repaired", exchange=wanted.exchange, symbol=wanted.symbol, from_ms=from_ms, to_ms=to_ms,
        trades=len(trades), closed=closed,
    )  # fmt: skip
    return left


def _close_gaps(wanted: Repair, end_ms: int) -> int:
    within = GapRow.objects.filter(
        exchange_id=wanted.exchange, symbol=wanted.symbol, closed_at=None,
        from_ns__gte=wanted.from_ms * 1_000_000, to_ns__lte=end_ms * 1_000_000,
    )  # fmt: skip
    proof = f"all trades by REST of [{wanted.from_ms}, {end_ms})"
    return within.update(closed_at=timezone.now(), method="trades", proof=proof)


def _repair(exchange: str, symbol: str, from_ns: int, to_ns: int) -> Repair:
    first = from_ns - from_ns % BUCKET_NS
    last = -(-to_ns // BUCKET_NS) * BUCKET_NS
    return Repair(exchange, symbol, first // 1_000_000, last // 1_000_000, to_ns // 1_000_000 + 1)


def _since_last_recorded(gap: Gap, names: Sequence[str]) -> dict[str, int]:
    """A start also misses whatever happened since each symbol's newest whole candle, while nothing ran."""
    opens = Candle.objects.filter(
        symbol__exchange_id=gap.exchange, symbol__name__in=names, timeframe=str(BASE_TIMEFRAME),
        source=str(Source.TRADES), open_ms__gte=(gap.to_ns - LONGEST_NS) // 1_000_000,
    ).exclude(quality=str(Quality.GAPPED))  # fmt: skip
    newest = opens.order_by().values_list("symbol__name").annotate(Max("open_ms"))
    bucket_ns = gap.from_ns - gap.from_ns % BUCKET_NS
    found = dict.fromkeys(names, bucket_ns)
    return found | {name: min(bucket_ns, (open_ms + BUCKET_MS) * 1_000_000) for name, open_ms in newest}


def _is_sane(trade: Trade) -> bool:
    try:
        slab.numbers([trade.price])
        slab.numbers([trade.quantity])
    except FrameRejected:
        return False
    return True

