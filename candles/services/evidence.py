"""What closing knows of a bucket beside its trades: coverage, gaps, neighbours, the price before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from candles import window
from candles.audit import Verdict, Witnesses
from candles.fold import REST_FIELD, Folded
from candles.ledger import Bucket, Edge
from candles.models import Gap
from candles.services.coverage import coverage
from candles.slab import Slab
from exchanges import registry
from exchanges.venue import TradeIds
from livermore.core.candle import BASE_TIMEFRAME, BUCKET_MS, Candle, Quality, Source
from symbols.models import ExchangeSymbol

Slabs = Mapping[str, Slab]


class Evidence:
    """Read once for all buckets of a call."""

    def __init__(self, exchange: str, buckets: Sequence[Bucket]) -> None:
        self.exchange = exchange
        self.venue = registry.venue(exchange)
        self.has_chain = self.venue.trade_ids is TradeIds.CONSECUTIVE
        self.coverage = coverage(exchange)
        self._gaps = _gaps(exchange, buckets)
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
        """The step to which the venue cuts each trade's quote amount, None where it does not."""
        return self._steps.get(symbol)

    def price_before(self, bucket: Bucket) -> Decimal | None:
        """The close before this bucket, None where none is known."""
        previous = self._previous.get(bucket)
        return previous.close if previous else None

    def witnesses(
        self,
        bucket: Bucket,
        folded: Folded | None,
        borders: tuple[Edge | None, Edge | None],
        slabs: Slabs,
        later: Slabs,
    ) -> Witnesses:
        """What speaks for and against this bucket; `later` are the slabs of the next one."""
        before, after = borders
        last = folded.last_id if folded else before.last if before else None
        first_after = after.first if after else None
        if first_after is None and self.has_chain and last is not None:
            # The next bucket is still filling: its least id so far proves the border only if it fits.
            ids = [i for columns in later.values() for i in columns.ids if isinstance(i, int)]
            if ids and min(ids) == last + 1:
                first_after = last + 1
        return Witnesses(
            is_consecutive=self.has_chain,
            last_before=before.last if before else None,
            first_after=first_after,
            is_covered=self._is_covered(bucket, slabs),
            has_open_gap=any(
                (not symbol or symbol == bucket.symbol)
                and from_ns < bucket.end_ms * 1_000_000
                and to_ns > bucket.open_ms * 1_000_000
                for symbol, from_ns, to_ns in self._gaps
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
        """The next bucket of the same call continues at this candle."""
        successor = Bucket(candle.symbol, candle.open_ms + BUCKET_MS)
        if successor in self._previous:
            self._previous[successor] = candle

    def _is_covered(self, bucket: Bucket, slabs: Slabs) -> bool:
        """Did we hear all of it, apart from known gaps?

        Of a bucket that ended before the present stream began, a few trades may be here without anybody
        having listened (a snapshot after subscribing repeats old ones): it needs a witness of its own,
        REST's trades or a whole neighbour before it.
        """
        if not self.coverage.covers(bucket.end_ms):
            return False
        if bucket.end_ms > self.coverage.since_ms or any(field.startswith(REST_FIELD) for field in slabs):
            return True
        previous = self._previous.get(bucket)
        return (
            previous is not None
            and previous.open_ms == bucket.open_ms - BUCKET_MS
            and previous.source is Source.TRADES
            and previous.quality is not Quality.GAPPED
        )


def _gaps(exchange: str, buckets: Sequence[Bucket]) -> list[tuple[str, int, int]]:
    """Open gaps that touch the span of these buckets: (symbol, from, to)."""
    from_ns = min(b.open_ms for b in buckets) * 1_000_000
    to_ns = max(b.end_ms for b in buckets) * 1_000_000
    of = Gap.objects.filter(exchange_id=exchange, closed_at=None, from_ns__lt=to_ns, to_ns__gt=from_ns)
    return list(of.filter(symbol__in={"", *(b.symbol for b in buckets)}).values_list("symbol", "from_ns", "to_ns"))
