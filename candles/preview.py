"""Redis: what screens and fast signals read before a candle is closed: forming candle, ticker, quotes, trail.

Kept per process in memory and written once per batch. A redelivered batch may count twice here; nothing
exact is ever derived from it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import lru_cache
from operator import mul
from typing import Any

from candles import legacy
from candles.outlier import is_near
from candles.slab import Slab
from livermore.core import keys
from livermore.core.candle import BASE_TIMEFRAME, BUCKET_MS
from livermore.core.exact import EXACT, plain
from livermore.core.legacy_keys import LegacyKey
from livermore.core.symbol import Symbol

TRAIL_SECONDS = 720
TICKER_LIFE_S = 24 * 3600
QUOTES_LIFE_S = 3600
PUBLISH_EVERY_S = 0.25
KEEP_EVERY_S = 60.0


@dataclass(slots=True)
class Forming:
    """The running candle of one symbol in this process."""

    open_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    turnover: Decimal
    trades: int
    time_ns: int
    bid: str = ""
    ask: str = ""
    told_at: float = 0.0


class Preview:
    """One process's view of one exchange's symbols."""

    def __init__(self, exchange: str) -> None:
        self.exchange = exchange
        self._forming: dict[str, Forming] = {}
        self._doubted: dict[str, Decimal] = {}
        self._kept_at: dict[str, float] = {}
        self.legacy_readers: Mapping[str, Sequence[LegacyKey]] = {}

    def last_price(self, symbol: str) -> Decimal | None:
        """The last accepted price here, None before the first."""
        forming = self._forming.get(symbol)
        return forming.close if forming else None

    def is_confirmed(self, symbol: str, price: Decimal) -> bool:
        """Did the doubted trade before this one trade near here, too? Then the market has moved."""
        doubted = self._doubted.get(symbol)
        self._doubted[symbol] = price
        return doubted is not None and is_near(price, doubted)

    def stage(
        self,
        pipe: Any,
        symbol: str,
        open_ms: int,
        slab: Slab,
        prices: list[Decimal],
        quantities: list[Decimal],
        batch: str = "",
    ) -> None:
        """Merge a slab and add the commands that show it; older buckets than the running one show nothing.

        `batch` is where the slab came from: a signal tells it, and what its newest trade was worth.
        """
        running = self._forming.get(symbol)
        if running is not None and open_ms < running.open_ms:
            return
        newest = max(zip(slab.times_ns, range(len(prices)), strict=True))[1]
        forming = self._merged(running, open_ms, slab, prices, quantities, newest)
        self._forming[symbol] = forming
        price = slab.prices[newest]
        time_ms, received_ms = slab.times_ns[newest] // 1_000_000, slab.received_ns // 1_000_000
        worth = float(prices[newest]) * float(quantities[newest])
        origin = f"|{worth:.2f}|{time.time_ns() // 1_000_000}|{batch}" if batch else ""
        # The taker's side tells which side of the book was hit: the nearest thing to a quote that trades give.
        forming.ask = _last(slab, is_buy=True) or forming.ask
        forming.bid = _last(slab, is_buy=False) or forming.bid
        ticker = {"price": plain(prices[newest]), "time_ms": time_ms, "received_ms": received_ms}
        pipe.hset(keys.ticker(self.exchange, symbol), mapping=ticker)
        pipe.hset(
            keys.quotes(base_of(symbol)),
            f"{self.exchange}|{symbol}",
            f"{price}|{time_ms}|{received_ms}|{forming.bid}|{forming.ask}" + origin,
        )
        pipe.hset(keys.trail(self.exchange, symbol), str(time_ms // 1000 % TRAIL_SECONDS), f"{time_ms}|{price}")
        self._show(pipe, symbol, forming, ticker)
        self._keep(pipe, symbol)

    def _merged(
        self,
        running: Forming | None,
        open_ms: int,
        slab: Slab,
        prices: list[Decimal],
        quantities: list[Decimal],
        newest: int,
    ) -> Forming:
        with localcontext(EXACT):
            volume = sum(quantities, start=Decimal(0))
            turnover = sum(map(mul, prices, quantities), start=Decimal(0))
            count, high, low = sum(slab.executions), max(prices), min(prices)
            close, time_ns = prices[newest], slab.times_ns[newest]
            if running is None or running.open_ms != open_ms:
                oldest = min(zip(slab.times_ns, range(len(prices)), strict=True))[1]
                bid, ask = (running.bid, running.ask) if running else ("", "")
                return Forming(
                    open_ms, prices[oldest], high, low, close, volume, turnover, count, time_ns, bid, ask
                )
            running.high, running.low = max(running.high, high), min(running.low, low)
            running.volume += volume
            running.turnover += turnover
            running.trades += count
            if time_ns >= running.time_ns:
                running.close, running.time_ns = close, time_ns
        return running

    def _show(self, pipe: Any, symbol: str, forming: Forming, ticker: dict[str, Any]) -> None:
        shown = {
            "open_time": forming.open_ms,
            "open": plain(forming.open),
            "high": plain(forming.high),
            "low": plain(forming.low),
            "close": plain(forming.close),
            "volume": plain(forming.volume),
            "turnover": plain(forming.turnover),
            "trades": forming.trades,
            "final": "false",
            "updated_ms": ticker["received_ms"],
        }
        key = keys.forming(self.exchange, symbol, BASE_TIMEFRAME)
        pipe.hset(key, mapping=shown)
        now = time.monotonic()
        if now - forming.told_at >= PUBLISH_EVERY_S:
            forming.told_at = now
            place = {"exchange": self.exchange, "symbol": symbol}
            pipe.publish(
                keys.channel_forming(self.exchange, symbol, BASE_TIMEFRAME),
                json.dumps({**place, "timeframe": str(BASE_TIMEFRAME), **shown, "final": False}),
            )
            for reader in self.legacy_readers.get(symbol, ()):
                pipe.publish(reader.channel_forming, legacy.text(forming, reader.symbol, reader.timeframe))
            pipe.publish(keys.channel_ticker(self.exchange, symbol), json.dumps({**place, **ticker}))

    def _keep(self, pipe: Any, symbol: str) -> None:
        """Every key ends some time after its last trade; once a minute is often enough to say so again."""
        now = time.monotonic()
        if now - self._kept_at.get(symbol, -KEEP_EVERY_S) < KEEP_EVERY_S:
            return
        self._kept_at[symbol] = now
        pipe.expire(keys.ticker(self.exchange, symbol), TICKER_LIFE_S)
        pipe.expire(keys.quotes(base_of(symbol)), QUOTES_LIFE_S)
        pipe.expire(keys.trail(self.exchange, symbol), TRAIL_SECONDS)
        pipe.pexpire(keys.forming(self.exchange, symbol, BASE_TIMEFRAME), 2 * BUCKET_MS)


@lru_cache(maxsize=10_000)
def base_of(symbol: str) -> str:
    """The base of a canonical symbol."""
    return Symbol.parse(symbol).base


def _last(slab: Slab, *, is_buy: bool) -> str:
    """The newest price at which takers bought (or sold), "" where none did."""
    sides = slab.buys[::-1]
    return slab.prices[-1 - sides.index(is_buy)] if is_buy in sides else ""
