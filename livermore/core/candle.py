"""Candles, their timeframes, and the JSON in which they are public."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from livermore.core.errors import InvalidInput
from livermore.core.exact import plain


class Timeframe(StrEnum):
    """The timeframes that exist; everything larger is folded from 5m. 1m does not exist."""

    M5 = "5m"
    M15 = "15m"
    M30 = "30m"
    H1 = "1h"
    H4 = "4h"
    D1 = "1d"

    @property
    def ms(self) -> int:
        """Length in milliseconds."""
        return _LENGTH_MS[self]

    @property
    def buckets(self) -> int:
        """How many 5m buckets it is made of."""
        return _LENGTH_MS[self] // _LENGTH_MS[Timeframe.M5]

    @classmethod
    def parse(cls, text: str) -> Timeframe:
        """Raises `InvalidInput` that lists what exists."""
        try:
            return cls(text)
        except ValueError:
            accepted = " ".join(cls)
            raise InvalidInput(f"timeframe {text!r} does not exist; accepted: {accepted}") from None


_ENCODE = json.JSONEncoder(separators=(",", ":")).encode  # made once: a window holds hundreds of thousands
_MINUTE_MS = 60_000
_LENGTH_MS = {
    Timeframe.M5: 5 * _MINUTE_MS,
    Timeframe.M15: 15 * _MINUTE_MS,
    Timeframe.M30: 30 * _MINUTE_MS,
    Timeframe.H1: 60 * _MINUTE_MS,
    Timeframe.H4: 240 * _MINUTE_MS,
    Timeframe.D1: 1440 * _MINUTE_MS,
}

BASE_TIMEFRAME = Timeframe.M5
LARGER_TIMEFRAMES = tuple(t for t in Timeframe if t is not BASE_TIMEFRAME)
BUCKET_MS = BASE_TIMEFRAME.ms
BUCKET_NS = BUCKET_MS * 1_000_000


class Source(StrEnum):
    """Where a candle's numbers come from."""

    TRADES = "trades"
    REST = "rest"
    ADOPTED = "adopted"


class Quality(StrEnum):
    """What the witnesses say, best first (contract §4)."""

    PROVEN = "proven"
    CLEAN = "clean"
    EMPTY = "empty"
    PENDING = "pending"
    GAPPED = "gapped"


_FROM_BEST = (Quality.PROVEN, Quality.CLEAN, Quality.EMPTY, Quality.PENDING, Quality.GAPPED)


def worst(qualities: Iterable[Quality]) -> Quality:
    """The quality of a whole is its worst part's; empty parts do not spoil one that traded."""
    found = set(qualities)
    if found - {Quality.EMPTY}:
        found.discard(Quality.EMPTY)
    return max(found, key=_FROM_BEST.index)


class Reason(StrEnum):
    """Why a synthetic candle has no trades."""

    NO_TRADES = "no_trades"
    OUTAGE = "outage"


@dataclass(frozen=True, slots=True)
class Candle:
    """OHLCV of `[open_ms, open_ms + timeframe)`, folded by us or taken from the venue.

    `volume` and `taker_buy_volume` are in base, `turnover` in quote; None where the source cannot
    know. Raises `InvalidInput` when low or high contradict the other prices, or when the open is not
    aligned to the timeframe.
    """

    exchange: str
    symbol: str
    timeframe: Timeframe
    open_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    turnover: Decimal | None = None
    taker_buy_volume: Decimal | None = None
    trades: int | None = None
    revision: int = 0
    source: Source = Source.TRADES
    quality: Quality = Quality.CLEAN
    reason: Reason | None = None
    parts: int | None = None

    def __post_init__(self) -> None:
        if not (self.low <= self.open <= self.high and self.low <= self.close <= self.high):
            raise InvalidInput(f"{self.symbol} {self.open_ms}: low and high must enclose open and close")
        if self.open_ms % self.timeframe.ms:
            raise InvalidInput(f"{self.symbol} {self.open_ms}: not aligned to {self.timeframe}")

    @property
    def is_synthetic(self) -> bool:
        """No trade happened (or none is known): flat at the previous close."""
        return self.reason is not None

    def to_json(self, *, final: bool = True) -> str:
        """The public member of contract §4; decimals as plain strings."""
        return _ENCODE(self.public(final=final))

    def public(self, *, final: bool = True) -> dict[str, Any]:
        """The public fields of contract §4 in their order."""
        fields: dict[str, Any] = {
            "v": 1,
            "exchange": self.exchange,
            "symbol": self.symbol,
            "timeframe": str(self.timeframe),
            "open_time": self.open_ms,
            "open": plain(self.open),
            "high": plain(self.high),
            "low": plain(self.low),
            "close": plain(self.close),
            "volume": plain(self.volume),
            "turnover": _text(self.turnover),
            "taker_buy_volume": _text(self.taker_buy_volume),
            "trades": self.trades,
            "final": final,
            "revision": self.revision,
            "source": str(self.source),
            "quality": str(self.quality),
            "synthetic": self.is_synthetic,
        }
        if self.reason is not None:
            fields["reason"] = str(self.reason)
        if self.parts is not None:
            fields["coverage"] = f"{self.parts}/{self.timeframe.buckets}"
            fields["complete"] = self.parts == self.timeframe.buckets
        return fields

    @classmethod
    def from_json(cls, text: str | bytes) -> Candle:
        """Read what `to_json` wrote; unknown fields are ignored."""
        f = json.loads(text)
        return cls(
            exchange=f["exchange"],
            symbol=f["symbol"],
            timeframe=Timeframe(f["timeframe"]),
            open_ms=f["open_time"],
            open=Decimal(f["open"]),
            high=Decimal(f["high"]),
            low=Decimal(f["low"]),
            close=Decimal(f["close"]),
            volume=Decimal(f["volume"]),
            turnover=_number(f["turnover"]),
            taker_buy_volume=_number(f["taker_buy_volume"]),
            trades=f["trades"],
            revision=f["revision"],
            source=Source(f["source"]),
            quality=Quality(f["quality"]),
            reason=Reason(f["reason"]) if f.get("reason") else None,
            parts=int(f["coverage"].partition("/")[0]) if f.get("coverage") else None,
        )


@dataclass(frozen=True, slots=True)
class Kline:
    """OHLCV as the venue says it; None where the venue does not say."""

    open_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    turnover: Decimal | None = None
    trades: int | None = None
    taker_buy_volume: Decimal | None = None


def _text(number: Decimal | None) -> str | None:
    return None if number is None else plain(number)


def _number(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
