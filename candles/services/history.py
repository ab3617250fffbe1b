"""Closed candles from the venue's own klines, so that charts and indicators are there at once."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from decimal import Decimal

from candles import window
from candles.models import Candle as CandleRow
from candles.services.record import Closed, record
from exchanges import registry
from exchanges.ratelimit import BACKGROUND_SHARE
from exchanges.services import rest
from exchanges.venue import Rest
from livermore.core.candle import Candle, Kline, Quality, Reason, Source, Timeframe
from livermore.logs import event
from symbols.models import ExchangeSymbol

log = logging.getLogger(__name__)

BARS = 300
"""Bars of each timeframe that indicators need (indicators.md §3.6)."""
SETTLED_MS = 10_000
"""A kline is believed so long after its end; venues publish late."""


def load(exchange: str, symbol: str, *, is_awaited: bool = False) -> list[tuple[str, str, str]]:
    """Fetch what the hot window lacks, from the table or else from the venue.

    Where somebody waits for it, all of the venue's budget may be taken, not only the background's share.
    Returns the (exchange, symbol, timeframe) that changed. Raises what the venue's REST raises (`Transient`: try
    again).
    """
    named = ExchangeSymbol.objects.select_related("exchange").filter(exchange_id=exchange, name=symbol)
    row = named.order_by("-is_trading").first()
    if row is None:
        return []
    source: Rest | None = None
    changed = []
    for timeframe in (Timeframe(t) for t in row.exchange.timeframes):
        end_ms = settled_end(timeframe)
        start_ms = end_ms - BARS * timeframe.ms
        if window.count(exchange, symbol, timeframe, start_ms, end_ms) >= BARS:
            continue
        if _recall(row, timeframe, start_ms, end_ms) < BARS:
            source = source or rest(exchange, share=1 if is_awaited else BACKGROUND_SHARE)
            klines = source.klines(row.native, timeframe, start_ms, end_ms)
            omits = not registry.venue(exchange).flat_when_idle
            candles = fill(exchange, symbol, timeframe, klines, end_ms, omits=omits)
            record([Closed(c, 0) for c in candles], tell=False)
        changed.append((exchange, symbol, str(timeframe)))
    if changed:
        event(log, "history.loaded", exchange=exchange, symbol=symbol, timeframes=len(changed))
    return changed


def _recall(symbol: ExchangeSymbol, timeframe: Timeframe, start_ms: int, end_ms: int) -> int:
    """Put what the table holds into the hot window, which may have been lost; how many candles that were."""
    stored = CandleRow.objects.filter(symbol=symbol, timeframe=str(timeframe), open_ms__range=(start_ms, end_ms - 1))
    candles = [row.value(symbol.exchange_id, symbol.name) for row in stored]
    window.put(candles)
    return len(candles)


def fill(
    exchange: str, symbol: str, timeframe: Timeframe, klines: Sequence[Kline], end_ms: int, *, omits: bool
) -> list[Candle]:
    """Klines as candles, oldest first; intervals that the venue left out are flat at the previous close.

    `end_ms` bounds the series: a kline that opens there or later is still forming and is left out. After
    the last kline only a venue that `omits` silent intervals says anything by saying nothing.
    """
    candles: list[Candle] = []
    for kline in sorted(klines, key=lambda k: k.open_ms):
        if kline.open_ms >= end_ms:
            break
        while candles and candles[-1].open_ms + timeframe.ms < kline.open_ms:
            candles.append(_flat(candles[-1]))
        candles.append(_candle(exchange, symbol, timeframe, kline))
    while omits and candles and candles[-1].open_ms + timeframe.ms < end_ms:
        candles.append(_flat(candles[-1]))
    return candles


def _candle(exchange: str, symbol: str, timeframe: Timeframe, kline: Kline) -> Candle:
    is_quiet = kline.volume == 0
    return Candle(
        exchange, symbol, timeframe, kline.open_ms, kline.open, kline.high, kline.low, kline.close, kline.volume,
        kline.turnover, kline.taker_buy_volume, kline.trades, source=Source.REST,
        quality=Quality.EMPTY if is_quiet else Quality.PROVEN, reason=Reason.NO_TRADES if is_quiet else None,
    )  # fmt: skip


def _flat(previous: Candle) -> Candle:
    price, none = previous.close, Decimal(0)
    return Candle(
        previous.exchange, previous.symbol, previous.timeframe, previous.open_ms + previous.timeframe.ms,
        price, price, price, price, none, none, none, 0,
        source=Source.REST, quality=Quality.EMPTY, reason=Reason.NO_TRADES,
    )  # fmt: skip


def settled_end(timeframe: Timeframe) -> int:
    """Where the settled bars end: the open of the first one that still forms or may be published late."""
    now_ms = time.time_ns() // 1_000_000 - SETTLED_MS
    return now_ms - now_ms % timeframe.ms
