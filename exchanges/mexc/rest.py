"""MEXC's public REST API for market data: like Binance's to look at, and different in detail.

https://www.mexc.com/api-docs/spot-v3/market-data-endpoints
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal, InvalidOperation, localcontext
from functools import cached_property
from itertools import groupby
from urllib.parse import urlsplit

import msgspec

from exchanges.http import TIMEOUT_S, Door, reads, shaped
from exchanges.venue import Budget, Endpoint, Instrument
from livermore.core.candle import Kline, Timeframe
from livermore.core.errors import InvalidInput, RemoteProtocolError
from livermore.core.exact import EXACT
from livermore.core.symbol import Symbol
from livermore.core.trade import NANOS_PER_MS, Trade

_LEAST = 3
"""Time and klines are stated to cost 1 of 500 in 10 s, but 20 requests a second bring the firewall's ban."""

WEIGHTS: Mapping[str, int] = {
    "/api/v3/time": _LEAST,
    "/api/v3/exchangeInfo": 10,
    "/api/v3/klines": _LEAST,
    "/api/v3/trades": 5,
    "/api/v3/ticker/24hr": 40,  # of all symbols, as it is asked here
}

FIREWALL_PAUSE_S = 90.0
"""How long the network in front of it bans an address that asked too fast, by a 403 with a page of HTML."""

KLINES_PER_PAGE = 500
"""More never come back, although the page promises 1,000."""
_TRADES_PER_PAGE = 1000

_INTERVAL = {
    Timeframe.M5: "5m",
    Timeframe.M15: "15m",
    Timeframe.M30: "30m",
    Timeframe.H1: "60m",
    Timeframe.H4: "4h",
}

_ONLINE = {"1", "ENABLED"}  # numbers now, words formerly
_BOTH_SIDES_CLOSED = 4


class _Market(msgspec.Struct):
    symbol: str
    status: str | int
    baseAsset: str  # noqa: N815 - the venue's name, as below
    quoteAsset: str  # noqa: N815
    quotePrecision: int  # noqa: N815
    baseAssetPrecision: int  # noqa: N815
    quoteAssetPrecision: int | None = None  # noqa: N815
    baseSizePrecision: str = ""  # noqa: N815
    tradeSideType: int | None = None  # noqa: N815


class _Markets(msgspec.Struct):
    symbols: list[_Market]


class _Ticker(msgspec.Struct):
    symbol: str
    lastPrice: str | None = None  # noqa: N815
    volume: str | None = None
    quoteVolume: str | None = None  # noqa: N815


class _Column(msgspec.Struct, array_like=True):
    open_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    end_ms: int  # the next one's open
    turnover: Decimal


class _Deal(msgspec.Struct):
    price: str
    qty: str
    time: int
    isBuyerMaker: bool  # noqa: N815


class _Time(msgspec.Struct):
    serverTime: int  # noqa: N815


class MexcRest:
    """Fulfils `Rest` for MEXC; connects on the first call."""

    def __init__(self, endpoint: Endpoint, budget: Budget, *, timeout_s: float = TIMEOUT_S) -> None:
        self._endpoint = endpoint
        self._budget = budget
        self._timeout_s = timeout_s

    @cached_property
    def _door(self) -> Door:
        # No refusal by geography is documented: a 403 is taken for the firewall's unless its text says more.
        return Door(
            self._endpoint.rest,
            self._budget,
            allowed=reads(WEIGHTS),
            weights=WEIGHTS,
            timeout_s=self._timeout_s,
            pauses_s={403: FIREWALL_PAUSE_S},
        )

    def socket_url(self, natives: Collection[str]) -> str:
        """The one socket, `/ws`, where the address in use does not name a path itself."""
        address = self._endpoint.ws
        return address if urlsplit(address).path.strip("/") else f"{address.rstrip('/')}/ws"

    def instruments(self) -> Sequence[Instrument]:
        """All spot markets; those delisted vanish. Markets closed to programs still have trades to hear."""
        markets = shaped(self._door.fetch("/api/v3/exchangeInfo"), _Markets).symbols
        return [found for market in markets if (found := _instrument(market)) is not None]

    def klines(self, native: str, timeframe: Timeframe, start_ms: int, end_ms: int) -> Sequence[Kline]:
        """Oldest first, with the forming one where the interval reaches now. Trades are not counted.

        Days are put together from four hours: where the venue's own days begin is not documented.
        """
        if timeframe is Timeframe.D1:
            day_ms = timeframe.ms
            begin_ms, beyond_ms = -(-start_ms // day_ms) * day_ms, -(-end_ms // day_ms) * day_ms
            return _days(self.klines(native, Timeframe.H4, begin_ms, beyond_ms))
        found: list[Kline] = []
        cursor = -(-start_ms // timeframe.ms) * timeframe.ms
        while cursor < end_ms:
            beyond_ms = min(cursor + KLINES_PER_PAGE * timeframe.ms, end_ms)
            answer = self._door.fetch(
                "/api/v3/klines", symbol=native, interval=_INTERVAL[timeframe],
                startTime=cursor, endTime=beyond_ms - 1, limit=KLINES_PER_PAGE,
            )  # fmt: skip
            rows = shaped(answer, list[_Column])
            found += [_kline(row) for row in rows if cursor <= row.open_ms < beyond_ms]
            cursor = beyond_ms
        return found

    def trades(self, native: str, symbol: str, start_ms: int, end_ms: int) -> Sequence[Trade]:
        """Those among the newest 1,000, oldest first, without ids: they cannot be told from the stream's."""
        answer = self._door.fetch("/api/v3/trades", symbol=native, limit=_TRADES_PER_PAGE)
        inside = [deal for deal in shaped(answer, list[_Deal]) if start_ms <= deal.time < end_ms]
        return [
            Trade(symbol, deal.time * NANOS_PER_MS, "", 1, deal.price, deal.qty, not deal.isBuyerMaker)
            for deal in reversed(inside)
        ]

    def volumes(self) -> Mapping[str, Decimal]:
        """24 h turnover per native symbol, each in its own quote; estimated where the venue leaves it out."""
        tickers = shaped(self._door.fetch("/api/v3/ticker/24hr"), list[_Ticker])
        return {ticker.symbol: _turnover(ticker) for ticker in tickers}

    def time_ms(self) -> int:
        """The venue's clock."""
        return shaped(self._door.fetch("/api/v3/time"), _Time).serverTime


def _instrument(market: _Market) -> Instrument | None:
    """Asset precisions are decimals of an amount; `baseSizePrecision` is the lot, or 0 where that is all."""
    try:
        symbol = Symbol.parse(f"{market.baseAsset}-{market.quoteAsset}")
    except InvalidInput:
        return None
    status = str(market.status)
    return Instrument(
        native=market.symbol,
        symbol=symbol,
        is_trading=status in _ONLINE and market.tradeSideType != _BOTH_SIDES_CLOSED,
        status=status,
        tick=Decimal(1).scaleb(-market.quotePrecision),
        lot=_decimal(market.baseSizePrecision) or Decimal(1).scaleb(-market.baseAssetPrecision),
        quote_precision=market.quoteAssetPrecision,
    )


def _kline(row: _Column) -> Kline:
    return Kline(row.open_ms, row.open, row.high, row.low, row.close, row.volume, row.turnover)


def _days(parts: Sequence[Kline]) -> Sequence[Kline]:
    day_ms = Timeframe.D1.ms
    return [_day(number * day_ms, list(of)) for number, of in groupby(parts, lambda k: k.open_ms // day_ms)]


def _day(open_ms: int, parts: Sequence[Kline]) -> Kline:
    with localcontext(EXACT):
        return Kline(
            open_ms,
            parts[0].open,
            max(k.high for k in parts),
            min(k.low for k in parts),
            parts[-1].close,
            sum((k.volume for k in parts), start=Decimal(0)),
            sum((k.turnover for k in parts if k.turnover is not None), start=Decimal(0)),
        )


def _turnover(ticker: _Ticker) -> Decimal:
    return _decimal(ticker.quoteVolume) or _decimal(ticker.volume) * _decimal(ticker.lastPrice)


def _decimal(text: str | None) -> Decimal:
    """The venue writes null or "" where it has no number: 0."""
    try:
        return Decimal(text or "0")
    except InvalidOperation:
        raise RemoteProtocolError(f"{str(text)[:30]!r} is not a number") from None
