"""The toy venue's frames → trades.

    {"trade":{"market":"BTC-USD","id":7,"price":"64000.10","size":"0.5","ms":1790000400000,"taker":"buy"}}

One trade a frame; ids count up by one; `taker` is the side of who took.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from exchanges.venue import Mapped
from livermore.core.symbol import SymbolBook
from livermore.core.trade import NANOS_PER_MS, Trade

Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Milliseconds = Annotated[int, msgspec.Meta(gt=0, lt=2**63 // NANOS_PER_MS)]


class Match(msgspec.Struct):
    """What REST and stream say alike of a trade."""

    market: str
    id: Id
    price: str
    size: str
    ms: Milliseconds
    taker: Literal["buy", "sell"]

    def trade(self, symbol: str) -> Trade:
        """The trade of a canonical symbol."""
        return Trade(symbol, self.ms * NANOS_PER_MS, self.id, 1, self.price, self.size, self.taker == "buy")


class _Frame(msgspec.Struct):
    trade: Match | None = None  # without one it is of another channel


_decode = msgspec.json.Decoder(_Frame).decode


def map_frames(frames: Sequence[bytes], book: SymbolBook) -> Mapped:
    """The `Mapper` of the toy venue."""
    mapped = Mapped()
    for index, frame in enumerate(frames):
        try:
            match = _decode(frame).trade
        except (ValueError, RecursionError) as error:
            mapped.rejected.append((index, str(error)[:120]))
            continue
        if match is None:
            continue
        symbol = book.names.get(match.market)
        if symbol is None:
            mapped.unknown[match.market] += 1
        else:
            mapped.trades.append(match.trade(symbol))
    return mapped
