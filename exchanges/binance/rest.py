"""Binance's REST API for market data, through python-binance; Binance.US differs in host only.

https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from typing import Any

import msgspec

from exchanges.binance.mapper import Aggregate
from exchanges.http import TIMEOUT_S, Door, reads, shaped
from exchanges.venue import Budget, Endpoint, Instrument, StatedLimits
from livermore.core.candle import Kline, Timeframe
from livermore.core.errors import InvalidInput, RemoteProtocolError
from livermore.core.symbol import Symbol
from livermore.core.trade import Trade

PAGE = 1000
_INTERVAL_S = {"SECOND": 1, "MINUTE": 60, "HOUR": 3_600}

WEIGHTS: Mapping[str, int] = {
    "/api/v3/time": 1,
    "/api/v3/exchangeInfo": 20,
    "/api/v3/klines": 2,
    "/api/v3/aggTrades": 4,
    "/api/v3/ticker/24hr": 80,  # of all symbols, as it is asked here
}
"""What a request costs; the page above states it beside each."""


class _Market(msgspec.Struct):
    symbol: str
    status: str
    baseAsset: str  # noqa: N815 - the venue's name, as below
    quoteAsset: str  # noqa: N815
    quotePrecision: int | None = None  # noqa: N815
    quoteAssetPrecision: int | None = None  # noqa: N815
    isSpotTradingAllowed: bool = True  # noqa: N815
    filters: list[dict[str, Any]] = []


class _Markets(msgspec.Struct):
    symbols: list[_Market]


class _Rate(msgspec.Struct):
    rateLimitType: str  # noqa: N815
    interval: str
    intervalNum: int  # noqa: N815
    limit: int


class _Rates(msgspec.Struct):
    rateLimits: list[_Rate] = []  # noqa: N815


class _Ticker(msgspec.Struct):
    symbol: str
    quoteVolume: Decimal  # noqa: N815


class _Time(msgspec.Struct):
    serverTime: int  # noqa: N815


class _Row(Aggregate):
    a: int


class _Column(msgspec.Struct, array_like=True):
    open_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    close_ms: int
    turnover: Decimal
    trades: int
    taker_buy_volume: Decimal


class BinanceRest:
    """Fulfils `Rest` for Binance.com and Binance.US; connects on the first call."""

    def __init__(
        self,
        endpoint: Endpoint,
        budget: Budget,
        *,
        weights: Mapping[str, int] = WEIGHTS,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._endpoint = endpoint
        self._budget = budget
        self._weights = weights
        self._timeout_s = timeout_s

    @cached_property
    def _client(self) -> Any:
        door = Door(
            self._endpoint.rest, self._budget,
            allowed=reads(self._weights), weights=self._weights, used=used, timeout_s=self._timeout_s,
        )  # fmt: skip
        return through(door)

    def socket_url(self, natives: Collection[str]) -> str:
        """The combined endpoint; streams are subscribed to after connecting."""
        return f"{self._endpoint.ws}/stream"

    def instruments(self) -> Sequence[Instrument]:
        """All spot markets, also those at rest; names that cannot be canonical are left out."""
        markets = shaped(self._client.get_exchange_info(), _Markets).symbols
        return [found for market in markets if (found := _instrument(market)) is not None]

    def klines(self, native: str, timeframe: Timeframe, start_ms: int, end_ms: int) -> Sequence[Kline]:
        """Oldest first, with the forming one where the interval reaches now."""
        found: list[Kline] = []
        cursor = start_ms
        while cursor < end_ms:
            answer = self._client.get_klines(
                symbol=native, interval=str(timeframe), startTime=cursor, endTime=end_ms - 1, limit=PAGE
            )
            rows = shaped(answer, list[_Column])
            found += [_kline(row) for row in rows if cursor <= row.open_ms < end_ms]
            if len(rows) < PAGE:
                break
            cursor = _further(cursor, rows[-1].open_ms + timeframe.ms)
        return found

    def trades(self, native: str, symbol: str, start_ms: int, end_ms: int) -> Sequence[Trade]:
        """Aggregates in order of id: found by time first, then followed by id."""
        found: list[Trade] = []
        position: dict[str, int] = {"startTime": start_ms}
        next_id = -1
        while start_ms < end_ms:
            answer = self._client.get_aggregate_trades(symbol=native, limit=PAGE, **position)
            rows = shaped(answer, list[_Row])
            trades = _trades(rows, symbol)
            found += [t for t in trades if start_ms <= t.time_ns // 1_000_000 < end_ms]
            if len(rows) < PAGE or trades[-1].time_ns // 1_000_000 >= end_ms:
                break
            next_id = _further(next_id, rows[-1].a + 1)
            position = {"fromId": next_id}
        return found

    def volumes(self) -> Mapping[str, Decimal]:
        """24 h turnover per native symbol, each in its own quote; one call for all."""
        return {row.symbol: row.quoteVolume for row in shaped(self._client.get_ticker(), list[_Ticker])}

    def stated_limits(self) -> StatedLimits:
        """The weight that `exchangeInfo` allows one address; `/rest-api/limits` says to read it there."""
        rates = shaped(self._client.get_exchange_info(), _Rates).rateLimits
        rate = next((r for r in rates if r.rateLimitType == "REQUEST_WEIGHT" and r.interval in _INTERVAL_S), None)
        if rate is None:
            return StatedLimits()
        return StatedLimits(rest_weight=rate.limit, rest_window_s=rate.intervalNum * _INTERVAL_S[rate.interval])

    def time_ms(self) -> int:
        """The venue's clock."""
        return shaped(self._client.get_server_time(), _Time).serverTime


def through(door: Door, **keys: str) -> Any:
    """python-binance speaking through our door: one host, our time-outs, our errors. `keys` as it names them."""
    from binance.client import Client  # takes a second to import; only this needs it

    class OurClient(Client):  # type: ignore[misc]
        API_URL = f"{door.base}/api"
        MARGIN_API_URL = f"{door.base}/sapi"

        def _init_session(self) -> Door:
            if self.API_KEY:
                door.headers["X-MBX-APIKEY"] = self.API_KEY
            return door

        @staticmethod
        def _handle_response(response: Any) -> Any:
            return door.decoded(response)

    return OurClient(ping=False, **keys)


def used(headers: Mapping[str, str]) -> int | None:
    """The weight of this minute, of our whole address. `/rest-api/limits`"""
    said = headers.get("X-MBX-USED-WEIGHT-1M", "")
    return int(said) if re.fullmatch(r"\d{1,9}", said) else None


def _trades(rows: Sequence[_Row], symbol: str) -> Sequence[Trade]:
    try:
        return [row.trade(symbol) for row in rows]
    except ValueError as error:
        raise RemoteProtocolError(f"an aggregate of another shape: {error}") from None


def _further(cursor: int, candidate: int) -> int:
    if candidate <= cursor:
        raise RemoteProtocolError("a page of history does not lead further")
    return candidate


def _instrument(market: _Market) -> Instrument | None:
    try:
        symbol = Symbol.parse(f"{market.baseAsset}-{market.quoteAsset}")
    except InvalidInput:
        return None
    precision = market.quoteAssetPrecision
    return Instrument(
        native=market.symbol,
        symbol=symbol,
        is_trading=market.status == "TRADING" and market.isSpotTradingAllowed,
        status=market.status,
        tick=_step(market, "PRICE_FILTER", "tickSize"),
        lot=_step(market, "LOT_SIZE", "stepSize"),
        quote_precision=market.quotePrecision if precision is None else precision,
    )


def _step(market: _Market, kind: str, name: str) -> Decimal:
    """A filter's step; 0 where the venue does not limit it. Precision fields are not the step."""
    return Decimal(next((f[name] for f in market.filters if f.get("filterType") == kind), "0"))


def _kline(row: _Column) -> Kline:
    return Kline(
        open_ms=row.open_ms,
        open=row.open,
        high=row.high,
        low=row.low,
        close=row.close,
        volume=row.volume,
        turnover=row.turnover,
        trades=row.trades,
        taker_buy_volume=row.taker_buy_volume,
    )
