"""Coinbase Advanced Trade's public REST API for market data.

https://docs.cdp.coinbase.com/advanced-trade/reference
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from functools import cached_property

import msgspec

from exchanges.coinbase.mapper import Match
from exchanges.http import TIMEOUT_S, Door, reads, shaped
from exchanges.venue import Budget, Endpoint, Instrument, StatedLimits
from livermore.core.candle import Kline, Timeframe
from livermore.core.errors import InvalidInput, RemoteProtocolError
from livermore.core.symbol import Symbol
from livermore.core.trade import Trade

_PUBLIC = "/api/v3/brokerage"
_PATHS = [
    f"{_PUBLIC}/time",
    f"{_PUBLIC}/market/products",
    f"{_PUBLIC}/market/products/*/candles",
    f"{_PUBLIC}/market/products/*/ticker",
]
CANDLES_PER_PAGE = 350
_TRADES_PER_PAGE = 1000
_GRANULARITY = {
    Timeframe.M5: "FIVE_MINUTE",
    Timeframe.M15: "FIFTEEN_MINUTE",
    Timeframe.M30: "THIRTY_MINUTE",
    Timeframe.H1: "ONE_HOUR",
    Timeframe.H4: "FOUR_HOUR",
    Timeframe.D1: "ONE_DAY",
}


class _Product(msgspec.Struct):
    product_id: str
    base_currency_id: str
    quote_currency_id: str
    base_increment: str
    quote_increment: str
    status: str
    product_type: str
    price: str = ""
    price_increment: str = ""
    volume_24h: str = ""
    approximate_quote_24h_volume: str = ""
    alias: str = ""
    is_disabled: bool = False
    trading_disabled: bool = False
    view_only: bool = False


class _Pagination(msgspec.Struct):
    has_next: bool = False


class _Products(msgspec.Struct):
    products: list[_Product]
    pagination: _Pagination | None = None


class _Candle(msgspec.Struct):
    start: str
    low: Decimal
    high: Decimal
    open: Decimal
    close: Decimal
    volume: Decimal


class _Candles(msgspec.Struct):
    candles: list[_Candle]


class _Trades(msgspec.Struct):
    trades: list[Match]


class _Time(msgspec.Struct):
    epochMillis: str  # noqa: N815 - the venue's name


class CoinbaseRest:
    """Fulfils `Rest` for Coinbase; connects on the first call. Requests are counted, whatever they ask."""

    def __init__(self, endpoint: Endpoint, budget: Budget, *, timeout_s: float = TIMEOUT_S) -> None:
        self._endpoint = endpoint
        self._budget = budget
        self._timeout_s = timeout_s

    @cached_property
    def _door(self) -> Door:
        # Its network refuses sanctioned countries with a 403 whose text is not documented.
        return Door(
            self._endpoint.rest, self._budget,
            allowed=reads(_PATHS), timeout_s=self._timeout_s, is_403_regional=True,
        )  # fmt: skip

    def socket_url(self, natives: Collection[str]) -> str:
        """The market data socket; products are subscribed to after connecting."""
        return self._endpoint.ws

    def instruments(self) -> Sequence[Instrument]:
        """Spot products, also those at rest. An alias (`BTC-USDC` of `BTC-USD`) is left out where its
        target is listed: both are one book, and its frames carry the target's name."""
        return [found for product in self._products() if (found := _instrument(product)) is not None]

    def klines(self, native: str, timeframe: Timeframe, start_ms: int, end_ms: int) -> Sequence[Kline]:
        """Oldest first, with the forming one where the interval reaches now; intervals without trades
        are omitted by the venue. It tells neither turnover nor count."""
        found: dict[int, Kline] = {}
        cursor = -(-start_ms // timeframe.ms) * timeframe.ms
        while cursor < end_ms:
            beyond = min(cursor + CANDLES_PER_PAGE * timeframe.ms, end_ms)
            answer = self._door.fetch(
                f"{_PUBLIC}/market/products/{native}/candles",
                start=cursor // 1000,
                end=-(-beyond // 1000) - 1,  # a wider range than 350 candles is refused, not cut
                granularity=_GRANULARITY[timeframe],
                limit=CANDLES_PER_PAGE,
            )
            klines = [_kline(row) for row in shaped(answer, _Candles).candles]
            found |= {k.open_ms: k for k in klines if cursor <= k.open_ms < beyond}
            cursor = beyond
        return [found[open_ms] for open_ms in sorted(found)]

    def trades(self, native: str, symbol: str, start_ms: int, end_ms: int) -> Sequence[Trade]:
        """In order of id. Pages go backwards by whole seconds, so they overlap.

        More trades in one second than a page holds cannot be reached; the ids then show the hole.
        """
        found: dict[int | str, Trade] = {}
        start_s, until_s = start_ms // 1000, -(-end_ms // 1000)
        barren = 0  # pages in a row without anything new: one proves that a second is complete
        while start_s < until_s and barren < 2:
            page = {t.id: t for t in self._page(native, symbol, start_s, until_s)}
            barren = 0 if page.keys() - found.keys() else barren + 1
            found |= page
            oldest_s = min((t.time_ns // 1_000_000_000 for t in page.values()), default=start_s)
            until_s = oldest_s if barren else min(oldest_s + 1, until_s)
            if oldest_s < start_s or not page:
                break
        inside = (t for t in found.values() if start_ms <= t.time_ns // 1_000_000 < end_ms)
        return sorted(inside, key=lambda t: t.id)

    def _page(self, native: str, symbol: str, start_s: int, until_s: int) -> Sequence[Trade]:
        answer = self._door.fetch(
            f"{_PUBLIC}/market/products/{native}/ticker", limit=_TRADES_PER_PAGE, start=start_s, end=until_s
        )
        try:
            return [match.trade(symbol) for match in shaped(answer, _Trades).trades]
        except ValueError as error:
            raise RemoteProtocolError(f"a trade of another shape: {error}") from None

    def volumes(self) -> Mapping[str, Decimal]:
        """24 h turnover per product, each in its own quote; 0 for idle products, aliases left out."""
        return {p.product_id: _turnover(p) for p in self._products()}

    def time_ms(self) -> int:
        """The venue's clock."""
        return int(shaped(self._door.fetch(f"{_PUBLIC}/time"), _Time).epochMillis)

    def stated_limits(self) -> StatedLimits:
        """Requests per second, as the header of any answer says."""
        answer = self._door.get(f"{self._door.base}{_PUBLIC}/time")
        self._door.decoded(answer)
        said = answer.headers.get("x-ratelimit-limit", "")
        is_said = re.fullmatch(r"[1-9]\d{0,8}", said)
        return StatedLimits(rest_weight=int(said), rest_window_s=1) if is_said else StatedLimits()

    def _products(self) -> Sequence[_Product]:
        """Spot products without aliases of others listed; one page holds them all in practice."""
        listed: dict[str, _Product] = {}
        has_next = True
        while has_next:
            answer = self._door.fetch(
                f"{_PUBLIC}/market/products", product_type="SPOT", **({"offset": len(listed)} if listed else {})
            )
            page = shaped(answer, _Products)
            fresh = {p.product_id: p for p in page.products if p.product_id not in listed}
            listed |= fresh
            has_next = bool(fresh) and page.pagination is not None and page.pagination.has_next
        return [p for p in listed.values() if p.product_type == "SPOT" and p.alias not in listed]


def _instrument(product: _Product) -> Instrument | None:
    try:
        symbol = Symbol.parse(f"{product.base_currency_id}-{product.quote_currency_id}")
    except InvalidInput:
        return None
    is_barred = product.is_disabled or product.trading_disabled or product.view_only
    return Instrument(
        native=product.product_id,
        symbol=symbol,
        is_trading=product.status == "online" and not is_barred,
        status=product.status,
        tick=_decimal(product.price_increment) or _decimal(product.quote_increment),
        lot=_decimal(product.base_increment),
    )


def _kline(row: _Candle) -> Kline:
    if not row.start.isdecimal():
        raise RemoteProtocolError(f"a candle starts at {row.start[:30]!r}")
    return Kline(
        open_ms=int(row.start) * 1000,
        open=row.open,
        high=row.high,
        low=row.low,
        close=row.close,
        volume=row.volume,
    )


def _turnover(product: _Product) -> Decimal:
    said = _decimal(product.approximate_quote_24h_volume)
    return said or _decimal(product.volume_24h) * _decimal(product.price)


def _decimal(text: str) -> Decimal:
    """The venue writes "" where it has no number: 0."""
    try:
        number = Decimal(text or "0")
    except InvalidOperation:
        raise RemoteProtocolError(f"{text[:30]!r} is not a number") from None
    return number
