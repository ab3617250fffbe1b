"""KuCoin frames → trades; the hot path.

    {"type":"message","topic":"/market/match:BTC-USDT","subject":"trade.l3match","data":{"symbol":"BTC-USDT",
     "sequence":"11067996711960577","side":"buy","price":"67523","size":"0.003","type":"match",
     "time":"1729843222921000000","tradeId":"11067996711960577",
     "takerOrderId":"671b50161777ff00074c168d","makerOrderId":"671b5007389355000701b1d3"}}

One trade a frame, fields in any order. `side` is the taker's, `time` nanoseconds. The trade's id is its
`sequence`: it rises with every event of the order book, so trades have holes between them; `tradeId` repeats it
today and was an opaque text before 2024. https://www.kucoin.com/docs-new/3470084w0
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from exchanges.venue import Mapped
from livermore.core.symbol import SymbolBook
from livermore.core.trade import Trade

_TOPIC = "/market/match:"

_INT64_DIGITS = 18
_NANOSECOND_DIGITS = 19
"""From September 2001 on, to the end of int64 in 2262."""
_INT64 = 2**63

# Building the tuple directly saves a third of what calling Trade(...) costs.
_trade = tuple.__new__


class Match(msgspec.Struct, gc=False):
    """What REST and stream say alike of a trade; other fields are ignored. `time` is text in frames only."""

    sequence: str
    side: Literal["buy", "sell"]
    size: str
    price: str
    time: str | int

    def trade(self, symbol: str) -> Trade:
        """The trade of a canonical symbol; raises `ValueError` for a sequence or time that is none."""
        digits, time = self.sequence, str(self.time)
        if not digits.isdecimal() or len(digits) > _INT64_DIGITS:
            raise ValueError("sequence is not a number")
        if not time.isdecimal() or len(time) != _NANOSECOND_DIGITS:
            raise ValueError("time is not in nanoseconds")
        time_ns = int(time)
        if time_ns >= _INT64:
            raise ValueError("time is out of range")
        return _trade(Trade, (symbol, time_ns, int(digits), 1, self.price, self.size, self.side == "buy"))


class _Streamed(Match, gc=False, kw_only=True):
    symbol: str
    time: str


class _Frame(msgspec.Struct, gc=False):
    subject: Literal["trade.l3match"]
    data: _Streamed


_frame = msgspec.json.Decoder(_Frame).decode
_anything = msgspec.json.Decoder().decode


def map_frames(frames: Sequence[bytes], book: SymbolBook) -> Mapped:
    """The `Mapper` of KuCoin."""
    mapped = Mapped()
    keep, canonical, unknown = mapped.trades.append, book.names.get, mapped.unknown
    for index, frame in enumerate(frames):
        try:
            match = _frame(frame).data
            symbol = canonical(match.symbol)
            if symbol is None:
                unknown[match.symbol] += 1
            else:
                keep(match.trade(symbol))
        except (ValueError, RecursionError) as error:
            why = _why_not(frame, error)
            if why:
                mapped.rejected.append((index, why))
    return mapped


def _why_not(frame: bytes, error: Exception) -> str | None:
    """Why a frame is bad; None for a good frame of another kind or topic."""
    try:
        said: Any = _anything(frame)
    except (ValueError, RecursionError):
        return "not JSON"
    if not isinstance(said, dict):
        return "not an object"
    is_match = said.get("subject") == "trade.l3match" or str(said.get("topic", "")).startswith(_TOPIC)
    return str(error)[:120] if is_match else None
