"""Coinbase Advanced Trade frames → trades; the hot path.

    {"channel":"market_trades","timestamp":"2026-08-09T21:05:50.878647002Z","sequence_num":108,
     "events":[{"type":"update","trades":[{"product_id":"ETH-USD","trade_id":"833140779","price":"1919.49",
       "size":"0.00430148","time":"2026-08-09T21:05:50.782535Z","side":"SELL"}]}]}

Newest first inside a frame. `side` is the *maker's*: SELL means that the taker bought. A `snapshot` event
repeats the last 100 trades after a subscription; they are trades like any other, and duplicates vanish
in the fold. https://docs.cdp.coinbase.com/advanced-trade/docs/ws-channels
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal

import msgspec

from exchanges.venue import Mapped
from livermore.core.symbol import SymbolBook
from livermore.core.trade import Trade

# Building the tuple directly saves a third of what calling Trade(...) costs.
_trade = tuple.__new__

_INT64_DIGITS = 18


class Match(msgspec.Struct, gc=False):
    """What REST and stream say alike of a trade; other fields are ignored."""

    product_id: str
    trade_id: str
    price: str
    size: str
    time: str
    side: Literal["BUY", "SELL"]

    def trade(self, symbol: str) -> Trade:
        """The trade of a canonical symbol; raises `ValueError` for an id or time that is none."""
        digits = self.trade_id
        if not digits.isdecimal() or len(digits) > _INT64_DIGITS:
            raise ValueError("trade_id is not a number")
        is_buy = self.side == "SELL"
        time_ns = nanoseconds(self.time)
        return _trade(Trade, (symbol, time_ns, int(digits), 1, self.price, self.size, is_buy))


class _Event(msgspec.Struct, gc=False):
    trades: list[Match]
    type: str = ""


class _MarketTrades(msgspec.Struct, gc=False):
    channel: Literal["market_trades"]
    events: list[_Event]


_market_trades = msgspec.json.Decoder(_MarketTrades).decode
_anything = msgspec.json.Decoder().decode


def map_frames(frames: Sequence[bytes], book: SymbolBook) -> Mapped:
    """The `Mapper` of Coinbase; a frame is taken whole or not at all."""
    mapped = Mapped()
    canonical, unknown = book.names.get, mapped.unknown
    for index, frame in enumerate(frames):
        try:
            trades = []
            for event in _market_trades(frame).events:
                for match in event.trades:
                    symbol = canonical(match.product_id)
                    if symbol is None:
                        unknown[match.product_id] += 1
                    else:
                        trades.append(match.trade(symbol))
        except (ValueError, RecursionError) as error:
            why = _why_not(frame, error)
            if why:
                mapped.rejected.append((index, why))
        else:
            mapped.trades += trades
    return mapped


def nanoseconds(time: str) -> int:
    """RFC 3339 in UTC with 0 to 9 decimals, such as `2026-08-09T21:05:42.51432Z` → ns since the epoch.

    Raises `ValueError` for anything else.
    """
    if len(time) == 20:
        fraction = ""
    elif time[19:20] == ".":
        fraction = time[20:-1]
    else:
        raise ValueError("time is not RFC 3339")
    digits = time[17:19] + fraction.ljust(9, "0")
    if time[-1:] != "Z" or len(digits) != 11 or not digits.isdecimal() or digits[:2] > "60":
        raise ValueError("time is not RFC 3339")
    return _minute_ns(time[:17]) + int(digits)


@lru_cache(maxsize=256)
def _minute_ns(prefix: str) -> int:
    """`2026-08-09T21:05:` → ns; remembered, because most frames fall into the minute before."""
    try:
        minute = datetime.strptime(prefix, "%Y-%m-%dT%H:%M:").replace(tzinfo=UTC)
    except ValueError:
        raise ValueError("time is not RFC 3339") from None
    if not 1970 <= minute.year <= 2261:
        raise ValueError("time is out of range")
    return int(minute.timestamp()) * 1_000_000_000


def _why_not(frame: bytes, error: Exception) -> str | None:
    """Why a frame is bad; None for a good frame of another channel."""
    try:
        said: Any = _anything(frame)
    except (ValueError, RecursionError):
        return "not JSON"
    if not isinstance(said, dict):
        return "not an object"
    if "channel" not in said and "events" in said:
        return "no field `channel`"
    if said.get("channel") != "market_trades":
        return None
    return str(error)[:120]
