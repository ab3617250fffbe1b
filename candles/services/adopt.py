"""Gaps that trades cannot close: the venue's own kline is taken, and says so in the row."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

from django.utils import timezone

from candles import window
from candles.models import Gap
from candles.services.carry import carry
from candles.services.history import SETTLED_MS
from candles.services.larger import larger
from candles.services.record import Closed, record
from exchanges import registry
from exchanges.services import rest
from exchanges.venue import Backfill, Venue
from livermore.core.candle import BASE_TIMEFRAME, BUCKET_MS, Candle, Kline, Quality, Reason, Source
from livermore.logs import event
from symbols.models import ExchangeSymbol

log = logging.getLogger(__name__)

TRADES_FIRST = timedelta(minutes=10)
"""Where the venue gives trades again, repair by trades has so long before its kline is taken."""


def wanted() -> list[tuple[str, str]]:
    """The (exchange, symbol) with a gap that is over and that trades did not or cannot close."""
    found = Gap.objects.filter(closed_at=None, to_ns__lte=_settled_ns()).order_by("exchange_id", "symbol").distinct()
    names = found.values_list("exchange_id", "symbol")
    slow = set(found.filter(opened_at__lte=timezone.now() - TRADES_FIRST).values_list("exchange_id", "symbol"))
    known = set(registry.slugs())
    return [
        (exchange, symbol)
        for exchange, symbol in dict.fromkeys(names)
        if exchange in known and ((exchange, symbol) in slow or not _gives_trades(registry.venue(exchange)))
    ]


def adopt(exchange: str, symbol: str) -> list[Candle]:
    """Take the klines of this symbol's open gaps and close them; returns the candles as they now stand.

    A gap whose last bucket is not over and settled stays open for the next round, and so does one whose
    klines the venue does not give. Raises what the venue's REST raises (`Transient`: try again).
    """
    row = ExchangeSymbol.objects.filter(exchange_id=exchange, name=symbol).order_by("-is_trading").first()
    if row is None:
        return []
    source, omits = rest(exchange), not registry.venue(exchange).flat_when_idle
    standing: list[Candle] = []
    for gap in Gap.objects.filter(exchange_id=exchange, symbol=symbol, closed_at=None).order_by("from_ns"):
        opens = _buckets(gap)
        if opens[-1] + BUCKET_MS + SETTLED_MS > _now_ms():
            continue
        klines = {k.open_ms: k for k in source.klines(row.native, BASE_TIMEFRAME, opens[0], opens[-1] + BUCKET_MS)}
        candles = _candles(exchange, symbol, opens, klines, omits=omits)
        changed = record([Closed(candle, candle.trades or 0) for candle in candles])
        changed += carry(changed)
        standing += changed + record(larger(changed))
        if len(candles) == len(opens):
            Gap.objects.filter(pk=gap.pk).update(
                closed_at=timezone.now(), method="kline", proof=f"the venue's {len(klines)} of {len(opens)} klines"
            )
        event(log, "gap.adopted", exchange=exchange, symbol=symbol, klines=len(klines), buckets=len(opens))
    return standing


def _gives_trades(venue: Venue) -> bool:
    return venue.backfill in (Backfill.BY_ID, Backfill.BY_TIME)


def _buckets(gap: Gap) -> range:
    """Opens of every bucket that the gap touches."""
    first, last = gap.from_ns // 1_000_000, (gap.to_ns - 1) // 1_000_000
    return range(first - first % BUCKET_MS, last + 1, BUCKET_MS)


def _candles(
    exchange: str, symbol: str, opens: Sequence[int], klines: dict[int, Kline], *, omits: bool
) -> list[Candle]:
    """One candle a bucket; without a kline only a venue that omits silent intervals has said anything."""
    (previous,) = window.before(exchange, [(symbol, opens[0])], BASE_TIMEFRAME)
    close = previous.close if previous else None
    found = []
    for open_ms in opens:
        kline = klines.get(open_ms)
        if kline is None and omits and close is not None:
            kline = Kline(open_ms, close, close, close, close, Decimal(0), Decimal(0), 0, Decimal(0))
        if kline is not None:
            close = kline.close
            found.append(adopted(exchange, symbol, kline))
    return found


def adopted(exchange: str, symbol: str, kline: Kline) -> Candle:
    """A 5m candle that is the venue's own."""
    is_quiet = kline.volume == 0
    return Candle(
        exchange, symbol, BASE_TIMEFRAME, kline.open_ms, kline.open, kline.high, kline.low, kline.close,
        kline.volume, kline.turnover, kline.taker_buy_volume, kline.trades, source=Source.ADOPTED,
        quality=Quality.EMPTY if is_quiet else Quality.PROVEN, reason=Reason.NO_TRADES if is_quiet else None,
    )  # fmt: skip


def _settled_ns() -> int:
    return (_now_ms() - SETTLED_MS) * 1_000_000


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
