"""The toy venue's REST API. https://toy.example/docs/rest"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from functools import cached_property

import msgspec

from exchanges.http import Door, reads, shaped
from exchanges.venue import Budget, Endpoint, Instrument, SocketAddress
from livermore.core.candle import Kline, Timeframe
from livermore.core.symbol import Symbol
from livermore.core.trade import Trade

from .mapper import Match

WEIGHTS = {"/markets": 10, "/candles": 2, "/trades": 2, "/time": 1}
"""https://toy.example/docs/rest#weights"""

_PING_INTERVAL_S, _PING_TIMEOUT_S = 20.0, 10.0


class _Market(msgspec.Struct):
    name: str
    base: str
    quote: str
    is_open: bool
    tick: Decimal
    lot: Decimal
    turnover: Decimal


class _Candle(msgspec.Struct):
    ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    turnover: Decimal


class ToyRest:
    """Fulfils `Rest`; connects on the first call."""

    def __init__(self, endpoint: Endpoint, budget: Budget) -> None:
        self._endpoint, self._budget = endpoint, budget

    @cached_property
    def _door(self) -> Door:
        return Door(self._endpoint.rest, self._budget, allowed=reads(WEIGHTS), weights=WEIGHTS)

    def socket_url(self, natives: Collection[str]) -> SocketAddress:
        """The one socket, and how it is kept alive; a plain URL would do where nothing is said of that."""
        return SocketAddress(self._endpoint.ws, _PING_INTERVAL_S, _PING_TIMEOUT_S)

    def instruments(self) -> Sequence[Instrument]:
        """All markets."""
        return [
            Instrument(m.name, Symbol(m.base, m.quote), m.is_open, "open" if m.is_open else "shut", m.tick, m.lot)
            for m in self._markets()
        ]

    def klines(self, native: str, timeframe: Timeframe, start_ms: int, end_ms: int) -> Sequence[Kline]:
        """Oldest first, in one page; intervals without trades are left out."""
        answer = self._door.fetch("/candles", market=native, step=str(timeframe), start=start_ms, end=end_ms)
        return [
            Kline(c.ms, c.open, c.high, c.low, c.close, c.volume, c.turnover) for c in shaped(answer, list[_Candle])
        ]

    def trades(self, native: str, symbol: str, start_ms: int, end_ms: int) -> Sequence[Trade]:
        """Oldest first, in one page."""
        answer = self._door.fetch("/trades", market=native, start=start_ms, end=end_ms)
        return [match.trade(symbol) for match in shaped(answer, list[Match])]

    def volumes(self) -> Mapping[str, Decimal]:
        """24 h turnover per market, in its quote."""
        return {m.name: m.turnover for m in self._markets()}

    def time_ms(self) -> int:
        """The venue's clock."""
        return shaped(self._door.fetch("/time"), int)

    def _markets(self) -> Sequence[_Market]:
        return shaped(self._door.fetch("/markets"), list[_Market])
