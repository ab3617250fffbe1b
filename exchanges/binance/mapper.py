"""Binance frames → trades; the hot path of Binance.com and Binance.US.

A frame of the combined stream (a raw stream sends what is under `data`):

    {"stream":"nknusdt@aggTrade","data":{"e":"aggTrade","E":1633998523963,"s":"NKNUSDT","a":15683430,
     "p":"0.35280000","q":"58.00000000","f":19862790,"l":19862790,"T":1633998523963,"m":false,"M":true}}

An aggregate bundles the executions `f … l` of one taker order at one price; `m` tells that the buyer
was the maker. https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec

from exchanges.venue import Mapped
from livermore.core.symbol import SymbolBook
from livermore.core.trade import Trade

_Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Time = Annotated[int, msgspec.Meta(gt=0, le=(2**63 - 1) // 1_000)]

_MICROSECONDS_FROM = (2**63 - 1) // 1_000_000
"""The magnitude tells the unit: as milliseconds this is the year 2262 (where int64 nanoseconds end),
as microseconds April 1970."""

_MOST_BUNDLED = 1_000_000
"""No taker order meets so many others; larger id ranges would poison the search for missing ids."""

# Millions of short-lived values: `gc=False` keeps them off the collector's lists, and building the
# tuple directly saves a third of what calling Trade(...) costs.
_trade = tuple.__new__


class Aggregate(msgspec.Struct, gc=False):
    """What REST and stream say alike of an aggregate trade; other fields are ignored."""

    p: str
    q: str
    f: _Id
    l: _Id  # noqa: E741 - the venue's name
    T: _Time
    m: bool

    def trade(self, symbol: str) -> Trade:
        """The trade of a canonical symbol; raises `ValueError` when the ids cannot be."""
        bundled = self.l - self.f + 1
        if not 0 < bundled <= _MOST_BUNDLED:
            raise ValueError("impossible range of trade ids")
        time_ns = self.T * 1_000_000 if self.T < _MICROSECONDS_FROM else self.T * 1_000
        return _trade(Trade, (symbol, time_ns, self.f, bundled, self.p, self.q, not self.m))


class _AggTrade(Aggregate, gc=False):
    e: Literal["aggTrade"]
    s: str


class _Combined(msgspec.Struct, gc=False):
    data: _AggTrade


_combined = msgspec.json.Decoder(_Combined).decode
_raw = msgspec.json.Decoder(_AggTrade).decode
_anything = msgspec.json.Decoder().decode


def map_frames(frames: Sequence[bytes], book: SymbolBook) -> Mapped:
    """The `Mapper` of Binance and Binance.US."""
    mapped = Mapped()
    keep, canonical, unknown = mapped.trades.append, book.names.get, mapped.unknown
    for index, frame in enumerate(frames):
        try:
            aggregate: _AggTrade | None = _combined(frame).data
        except (ValueError, RecursionError):
            aggregate = _unusual(index, frame, mapped)
        if aggregate is None:
            continue
        symbol = canonical(aggregate.s)
        if symbol is None:
            unknown[aggregate.s] += 1
            continue
        try:
            keep(aggregate.trade(symbol))
        except ValueError as error:
            mapped.rejected.append((index, str(error)))
    return mapped


def _unusual(index: int, frame: bytes, mapped: Mapped) -> _AggTrade | None:
    """A frame that is no combined aggregate: a raw one, another channel, or a bad frame."""
    try:
        said: Any = _anything(frame)
    except (ValueError, RecursionError):
        mapped.rejected.append((index, "not JSON"))
        return None
    if not isinstance(said, dict):
        mapped.rejected.append((index, "not an object"))
        return None
    event = said.get("data", said)
    if not isinstance(event, dict):
        mapped.rejected.append((index, "data is not an object"))
        return None
    if event.get("e") != "aggTrade":
        if "@aggTrade" in str(said.get("stream", "")):
            mapped.rejected.append((index, _why_no_event(said, event)))
        return None
    try:
        return _raw(frame) if event is said else _combined(frame).data
    except ValueError as error:
        mapped.rejected.append((index, _short(error)))
        return None


def _why_no_event(said: dict[str, Any], event: dict[str, Any]) -> str:
    if "data" not in said:
        return "no field `data` on an aggTrade stream"
    return "no aggTrade on its stream: " + ("another `e`" if "e" in event else "no field `e`")


def _short(error: ValueError) -> str:
    """msgspec's own words without the values: ``Expected `str`, got `int` - at `$.data.p` ``."""
    return str(error)[:120]
