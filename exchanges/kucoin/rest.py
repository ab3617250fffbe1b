"""KuCoin's REST API for market data, through kucoin-universal-sdk.

The SDK knows calls, parameters and paths; the transport beneath it is ours. Its own retries by itself, tells
errors as text only, and hands out an empty object for an answer of another shape. Answers are wrapped:
`{"code":"200000","data":…}`, and an error may come with any HTTP status.
https://www.kucoin.com/docs-new/rest/spot-trading/market-data/introduction
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Any
from urllib.parse import urlencode, urlsplit

import msgspec
import requests

from exchanges.http import TIMEOUT_S, Door, reads, shaped
from exchanges.kucoin.answers import payload, told, used
from exchanges.kucoin.mapper import Match
from exchanges.venue import Budget, Endpoint, Instrument, SocketAddress, StatedLimits
from livermore.core.candle import Kline, Timeframe
from livermore.core.errors import (
    InvalidInput,
    RemoteProtocolError,
)
from livermore.core.symbol import Symbol
from livermore.core.trade import Trade

_TOKEN = "/api/v1/bullet-public"  # noqa: S105 - a path

WEIGHTS: Mapping[str, int] = {
    "/api/v1/timestamp": 3,
    "/api/v2/symbols": 4,
    "/api/v1/market/candles": 3,
    "/api/v1/market/histories": 3,
    "/api/v1/market/allTickers": 15,
    _TOKEN: 10,
}
"""What a request costs of the public pool; its page states it."""

_ALLOWED = [f"POST {_TOKEN}", *reads(WEIGHTS.keys() - {_TOKEN})]

CANDLES_PER_PAGE = 1500 - 2
"""One interval more than is taken is asked, and the venue may count both ends."""
_TYPE = {
    Timeframe.M5: "5min",
    Timeframe.M15: "15min",
    Timeframe.M30: "30min",
    Timeframe.H1: "1hour",
    Timeframe.H4: "4hour",
    Timeframe.D1: "1day",
}

Sign = Callable[[requests.PreparedRequest], requests.PreparedRequest]

_Milliseconds = Annotated[int, msgspec.Meta(gt=0)]


class _Server(msgspec.Struct):
    endpoint: str
    pingInterval: _Milliseconds  # noqa: N815 - the venue's name, as below
    pingTimeout: _Milliseconds  # noqa: N815
    protocol: str = "websocket"


class _Bullet(msgspec.Struct):
    token: str
    instanceServers: list[_Server]  # noqa: N815


class _Market(msgspec.Struct):
    symbol: str
    name: str
    baseIncrement: Decimal  # noqa: N815
    priceIncrement: Decimal  # noqa: N815
    enableTrading: bool  # noqa: N815
    callauctionIsEnabled: bool | None = None  # noqa: N815
    st: bool | None = None


class _Ticker(msgspec.Struct):
    symbol: str
    volValue: Decimal | None = None  # noqa: N815


class _Tickers(msgspec.Struct):
    ticker: list[_Ticker]


class _Column(msgspec.Struct, array_like=True):
    """Close stands before high and low."""

    start_s: str
    open: Decimal
    close: Decimal
    high: Decimal
    low: Decimal
    volume: Decimal
    turnover: Decimal


class KucoinRest:
    """Fulfils `Rest` for KuCoin; connects on the first call."""

    def __init__(self, endpoint: Endpoint, budget: Budget, *, timeout_s: float = TIMEOUT_S) -> None:
        self._endpoint = endpoint
        self._budget = budget
        self._timeout_s = timeout_s

    @cached_property
    def _door(self) -> Door:
        rest, budget = self._endpoint.rest, self._budget
        return Door(rest, budget, allowed=_ALLOWED, weights=WEIGHTS, used=used, timeout_s=self._timeout_s)

    @cached_property
    def _api(self) -> Any:
        """The SDK's market API speaking through our door."""
        from kucoin_universal_sdk.generate.spot.market.api_market import MarketAPIImpl

        return MarketAPIImpl(_transport(self._door))

    def socket_url(self, natives: Collection[str]) -> SocketAddress:
        """A server and a token of its own for every connection: a token serves once."""
        bullet = shaped(self._api.get_public_token(), _Bullet)
        server = next((s for s in bullet.instanceServers if s.protocol == "websocket"), None)
        if server is None:
            raise RemoteProtocolError("the token reply names no server")
        secured = {"https": ("wss",)}.get(urlsplit(self._endpoint.rest).scheme, ("ws", "wss"))
        if urlsplit(server.endpoint).scheme not in secured:
            raise RemoteProtocolError(f"the token reply names a server that is not {secured[0]}")
        query = urlencode({"token": bullet.token, "connectId": secrets.token_urlsafe(8)})
        return SocketAddress(f"{server.endpoint}?{query}", server.pingInterval / 1000, server.pingTimeout / 1000)

    def instruments(self) -> Sequence[Instrument]:
        """All spot markets, also those at rest; names that cannot be canonical are left out."""
        from kucoin_universal_sdk.generate.spot.market.model_get_all_symbols_req import GetAllSymbolsReq

        markets = shaped(self._api.get_all_symbols(GetAllSymbolsReq()), list[_Market])
        return [found for market in markets if (found := _instrument(market)) is not None]

    def klines(self, native: str, timeframe: Timeframe, start_ms: int, end_ms: int) -> Sequence[Kline]:
        """Oldest first, with the forming one where the interval reaches now; intervals without trades are
        omitted by the venue. It tells no count. An interval that just ended may still lack trades."""
        from kucoin_universal_sdk.generate.spot.market.model_get_klines_req import GetKlinesReq

        found: dict[int, Kline] = {}
        cursor = -(-start_ms // timeframe.ms) * timeframe.ms
        while cursor < end_ms:
            # One interval more is asked than is taken, because whether the end is included differs.
            beyond = min(cursor + CANDLES_PER_PAGE * timeframe.ms, end_ms)
            request = GetKlinesReq(
                symbol=native,
                type=_TYPE[timeframe],
                start_at=cursor // 1000,
                end_at=-(-(beyond + timeframe.ms) // 1000),
            )
            klines = [_kline(row) for row in shaped(self._api.get_klines(request), list[_Column])]
            found |= {k.open_ms: k for k in klines if cursor <= k.open_ms < beyond}
            cursor = beyond
        return [found[open_ms] for open_ms in sorted(found)]

    def trades(self, native: str, symbol: str, start_ms: int, end_ms: int) -> Sequence[Trade]:
        """What of the interval is among the newest hundred, in order; the venue gives no others."""
        from kucoin_universal_sdk.generate.spot.market.model_get_trade_history_req import GetTradeHistoryReq

        rows = shaped(self._api.get_trade_history(GetTradeHistoryReq(symbol=native)), list[Match])
        try:
            trades = [row.trade(symbol) for row in rows]
        except ValueError as error:
            raise RemoteProtocolError(f"a trade of another shape: {error}") from None
        inside = (t for t in trades if start_ms <= t.time_ns // 1_000_000 < end_ms)
        return sorted(inside, key=lambda t: t.id)

    def volumes(self) -> Mapping[str, Decimal]:
        """24 h turnover per native symbol, each in its own quote; 0 where nothing was traded yet."""
        tickers = shaped(self._api.get_all_tickers(), _Tickers).ticker
        return {row.symbol: row.volValue or Decimal(0) for row in tickers}

    def stated_limits(self) -> StatedLimits:
        """The pool that the headers tell, and how long the token reply lets a connection be silent."""
        answer = self._door.post(f"{self._door.base}/api/v1/bullet-public")
        servers = shaped(payload(self._door, answer), _Bullet).instanceServers
        silence_ms = max((s.pingInterval + s.pingTimeout for s in servers), default=0)
        return StatedLimits(told(answer.headers, "limit"), silence_s=-(-silence_ms // 1000) or None)

    def time_ms(self) -> int:
        """The venue's clock."""
        return shaped(self._api.get_server_time(), int)


def account_api(door: Door, sign: Sign) -> Any:
    """The SDK's account API speaking through a door; its own signer knows our clock only."""
    from kucoin_universal_sdk.generate.account.account.api_account import AccountAPIImpl

    return AccountAPIImpl(_transport(door, sign))


def _transport(door: Door, sign: Sign | None = None) -> Any:
    """Beneath the SDK's calls: one host, our time-outs, our errors."""
    # This and the modules of its APIs load in a quarter of a second each, the SDK's client in one.
    from kucoin_universal_sdk.internal.interfaces.transport import Transport

    class OurTransport(Transport):  # type: ignore[misc]
        def call(self, domain: str, broker: bool, method: str, path: str, request: Any, *_: Any, **__: Any) -> Any:
            asked = {} if request is None else request.model_dump(mode="json", by_alias=True, exclude_none=True)
            headers = {"Content-Type": "application/json"}
            return payload(door, door.request(method, door.base + path, params=asked, headers=headers, auth=sign))

    return OurTransport()


def _instrument(market: _Market) -> Instrument | None:
    """Named by `name`, which follows renamings (`BSV-USDT`); `symbol` stays for ever (`BCHSV-USDT`)."""
    try:
        symbol = Symbol.parse(market.name)
    except InvalidInput:
        return None
    return Instrument(
        native=market.symbol,
        symbol=symbol,
        is_trading=market.enableTrading,
        status=_status(market),
        tick=market.priceIncrement,
        lot=market.baseIncrement,
    )


def _status(market: _Market) -> str:
    """The venue has flags instead of a status."""
    if not market.enableTrading:
        return "disabled"
    if market.callauctionIsEnabled:
        return "call auction"
    return "special treatment" if market.st else "enabled"


def _kline(row: _Column) -> Kline:
    if not row.start_s.isdecimal() or len(row.start_s) > 12:
        raise RemoteProtocolError(f"a candle starts at {row.start_s[:30]!r}")
    return Kline(
        open_ms=int(row.start_s) * 1000,
        open=row.open,
        high=row.high,
        low=row.low,
        close=row.close,
        volume=row.volume,
        turnover=row.turnover,
    )
