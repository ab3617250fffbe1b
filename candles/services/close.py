"""From due buckets to closed candles: fold, audit, record, and the larger candles that follow."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from candles import ledger, window
from candles.audit import Verdict, Witnesses, judge
from candles.fold import Folded, fold, widen
from candles.ledger import Bucket, Edge
from candles.models import Gap
from candles.services.coverage import Coverage, coverage
from candles.services.record import Closed, record
from candles.slab import Slab
from exchanges import registry
from exchanges.venue import TradeIds
from livermore.core.candle import (
    BASE_TIMEFRAME,
    BUCKET_MS,
    LARGER_TIMEFRAMES,
    Candle,
    Quality,
    Timeframe,
)
from livermore.logs import event
from symbols import services as symbols
from symbols.models import ExchangeSymbol

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Closing:
    """What came of closing some buckets: candles as they now stand, and buckets whose ids show a hole."""

    candles: list[Candle] = field(default_factory=list)
    holes: list[Bucket] = field(default_factory=list)


def mark_silent(exchange: str, now_ms: int) -> None:
    """Make the bucket that has just ended due for every streamed symbol, so that silent ones close too."""
    state = coverage(exchange)
    if not state.is_started:
        return
    open_ms = now_ms - now_ms % BUCKET_MS - BUCKET_MS
    if not state.claim_marking(open_ms):
        return
    names = symbols.streamed_names(exchange).values()
    ledger.mark(exchange, [Bucket(name, open_ms) for name in names], now_ms=now_ms)


def close(exchange: str, buckets: Sequence[Bucket]) -> Closing:
    """Fold and record these buckets; the caller settles them afterwards. Repeating is harmless."""
    started = time.perf_counter()
    buckets = sorted(buckets)
    result = Closing()
    found = ledger.slabs(exchange, buckets)
    following = ledger.slabs(exchange, [Bucket(b.symbol, b.end_ms) for b in buckets])
    borders = ledger.edges(exchange, buckets)
    context = _Context(exchange, buckets)
    closed: list[Closed] = []
    edges: dict[Bucket, Edge] = {}
    again: list[Bucket] = []
    for bucket, slabs, later, (before, after) in zip(buckets, found, following, borders, strict=True):
        before = edges.get(Bucket(bucket.symbol, bucket.open_ms - BUCKET_MS), before)
        folded = fold(slabs, turnover_step=context.turnover_step(bucket.symbol))
        witnesses = context.witnesses(bucket, folded, before, after, later)
        verdict = judge(folded, witnesses)
        candle = context.candle(bucket, folded, verdict)
        if verdict.has_hole:
            result.holes.append(bucket)
        edge = _edge(folded, verdict, before)
        if edge is not None:
            edges[bucket] = edge
            if before is not None and not before.is_proven and before.last + 1 == edge.first:
                again.append(Bucket(bucket.symbol, bucket.open_ms - BUCKET_MS))
        if candle is not None:
            closed.append(Closed(candle, folded.trades if folded else 0, folded.confirmed if folded else 0))
            context.remember(candle)
            _log(candle, slabs, folded)
    result.candles = record(closed)
    ledger.keep_edges(exchange, edges)
    # Its right border is known only now: judge it once more.
    ledger.mark(exchange, again, now_ms=_now_ms(), again=True)
    result.candles += record(_larger(result.candles))
    if closed:
        spent_ms = round((time.perf_counter() - started) * 1000)
        event(log, "buckets.closed", exchange=exchange, candles=len(closed), holes=len(result.holes), ms=spent_ms)
    return result


class _Context:
    """What closing needs to know beside the slabs, read once for all buckets of a call."""

    def __init__(self, exchange: str, buckets: Sequence[Bucket]) -> None:
        self.exchange = exchange
        self.venue = registry.venue(exchange)
        self.coverage: Coverage = coverage(exchange)
        self._gaps = list(Gap.objects.filter(exchange_id=exchange, closed_at=None))
        self._steps: dict[str, Decimal] = {}
        if self.venue.turnover_cut:
            rows = ExchangeSymbol.objects.filter(exchange_id=exchange, name__in={b.symbol for b in buckets})
            self._steps = {
                name: Decimal(1).scaleb(-precision)
                for name, precision in rows.values_list("name", "quote_precision")
                if precision is not None
            }
        wanted = [(b.symbol, b.open_ms) for b in buckets]
        previous = window.before(exchange, wanted, BASE_TIMEFRAME)
        self._previous = dict(zip(buckets, previous, strict=True))

    def turnover_step(self, symbol: str) -> Decimal | None:
        return self._steps.get(symbol)

    def witnesses(
        self, bucket: Bucket, folded: Folded | None, before: Edge | None, after: Edge | None, later: Mapping[str, Slab]
    ) -> Witnesses:
        is_consecutive = self.venue.trade_ids is TradeIds.CONSECUTIVE
        last = folded.last_id if folded else before.last if before else None
        first_after = after.first if after else None
        if first_after is None and is_consecutive and last is not None:
            # The next bucket is still filling: its least id so far proves the border only if it fits.
            ids = [i for columns in later.values() for i in columns.ids if isinstance(i, int)]
            if ids and min(ids) == last + 1:
                first_after = last + 1
        return Witnesses(
            is_consecutive=is_consecutive,
            last_before=before.last if before else None,
            first_after=first_after,
            is_covered=self.coverage.covers(bucket.end_ms),
            has_open_gap=any(
                (not gap.symbol or gap.symbol == bucket.symbol)
                and gap.from_ns < bucket.end_ms * 1_000_000
                and gap.to_ns > bucket.open_ms * 1_000_000
                for gap in self._gaps
            ),
        )

    def candle(self, bucket: Bucket, folded: Folded | None, verdict: Verdict) -> Candle | None:
        """The candle; None where nothing was traded and no earlier price is known."""
        if folded is not None:
            return Candle(
                self.exchange, bucket.symbol, BASE_TIMEFRAME, bucket.open_ms,
                folded.open, folded.high, folded.low, folded.close, folded.volume, folded.turnover,
                folded.taker_buy_volume, folded.trades, quality=verdict.quality,
            )  # fmt: skip
        previous = self._previous.get(bucket)
        if previous is None:
            return None
        flat, none = previous.close, Decimal(0)
        return Candle(
            self.exchange, bucket.symbol, BASE_TIMEFRAME, bucket.open_ms, flat, flat, flat, flat, none, none, none, 0,
            quality=verdict.quality, reason=verdict.reason,
        )  # fmt: skip

    def remember(self, candle: Candle) -> None:
        """A flat successor in the same call continues at this close."""
        successor = Bucket(candle.symbol, candle.open_ms + BUCKET_MS)
        if successor in self._previous:
            self._previous[successor] = candle


def _edge(folded: Folded | None, verdict: Verdict, before: Edge | None) -> Edge | None:
    is_proven = verdict.quality is Quality.PROVEN
    if folded is None:
        return None if before is None else Edge(before.last + 1, before.last, verdict.quality is Quality.EMPTY)
    if folded.first_id is None or folded.last_id is None:
        return None
    return Edge(folded.first_id, folded.last_id, is_proven)


def _larger(changed: Iterable[Candle]) -> list[Closed]:
    """The larger candles that the changed 5m candles complete; never one with a child missing."""
    now_ms = _now_ms()
    wanted = {
        (c.exchange, c.symbol, timeframe, c.open_ms - c.open_ms % timeframe.ms)
        for c in changed
        if c.timeframe is BASE_TIMEFRAME
        for timeframe in LARGER_TIMEFRAMES
    }
    found = []
    for exchange, symbol, timeframe, open_ms in sorted(wanted):
        end_ms = open_ms + timeframe.ms
        needed = timeframe.ms // BUCKET_MS
        if end_ms > now_ms or window.count(exchange, symbol, BASE_TIMEFRAME, open_ms, end_ms) < needed:
            continue
        parts = window.between(exchange, symbol, BASE_TIMEFRAME, open_ms, end_ms)
        whole = widen(parts, Timeframe(timeframe))
        evidence = sum(part.trades or 0 for part in parts) + sum(part.revision for part in parts)
        found.append(Closed(whole, evidence))
    return found


def _log(candle: Candle, slabs: Mapping[str, Slab], folded: Folded | None) -> None:
    event(
        log, "candle.closed", logging.DEBUG, exchange=candle.exchange, symbol=candle.symbol, open=candle.open_ms,
        trades=candle.trades, slabs=len(slabs), quality=candle.quality, conflicts=folded.conflicts if folded else 0,
    )  # fmt: skip


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


