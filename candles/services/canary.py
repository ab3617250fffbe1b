"""The canary's way through the workers: each station stamps when it passed; nothing of it reaches a candle or a count.

It is a batch without frames (`exchanges.canary`). Its one trade, of a symbol that no venue can list, becomes a slab, is
folded and is published, all under keys of its own.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from candles import slab
from candles.fold import fold
from exchanges import wire
from exchanges.models import Exchange
from exchanges.state import state_redis, unavailable
from livermore.core import keys
from livermore.core.errors import LocalProtocolError
from livermore.core.frame import CANARY
from livermore.core.trade import Trade

TICKS, CANDLES, SIGNALS = "ticks", "candles", "signals"
STATIONS = (TICKS, CANDLES, SIGNALS)
BEAT, SWEPT = "beat", "swept"
KEPT_S = 86_400
_SLAB = "slab"


@dataclass(frozen=True, slots=True)
class Passed:
    """The newest canary that passed a station: when it was sent and when it passed (ms UTC); 0 = never."""

    sent_ms: int = 0
    at_ms: int = 0


def is_one(body: dict[str, Any]) -> bool:
    """Is this message a canary, not a batch of frames?"""
    return body.get("connection") == CANARY


@unavailable()
def arrived(body: dict[str, Any]) -> tuple[str, int]:
    """At the ticks worker: the trade becomes a slab. Returns the exchange and when the canary was sent (ms)."""
    batch = wire.unpack(body)
    sent_ms = batch.received_ns // 1_000_000
    trade = Trade(CANARY, batch.received_ns, batch.number, 1, "1", "1", True)
    (columns,) = slab.group([trade], batch.received_ns).values()
    _stamp(batch.exchange, TICKS, sent_ms, {_SLAB: slab.encode(columns)})
    return batch.exchange, sent_ms


@unavailable()
def folded(exchange: str, sent_ms: int) -> None:
    """At the candles worker: the slab is folded, and the database asked."""
    stored = state_redis().hget(keys.canary(exchange), _SLAB)
    candle = fold({CANARY: slab.decode(stored)}) if stored else None
    if candle is None or candle.trades != 1 or not Exchange.objects.filter(pk=exchange).exists():
        raise LocalProtocolError(f"the canary of {exchange} came to the fold without its trade")
    _stamp(exchange, CANDLES, sent_ms, {})


@unavailable()
def published(exchange: str, sent_ms: int) -> None:
    """At the signals worker: readers are woken."""
    state_redis().publish(keys.channel_canary(exchange), sent_ms)
    _stamp(exchange, SIGNALS, sent_ms, {})


@unavailable()
def swept() -> None:
    """A sweep ran, so beat sends and the candles worker hears."""
    pipe = state_redis().pipeline(transaction=False)
    pipe.hset(keys.canary(BEAT), SWEPT, _now_ms())
    pipe.expire(keys.canary(BEAT), KEPT_S)
    pipe.execute()


@unavailable()
def swept_ms() -> int | None:
    """When the last sweep ran; None when none ran within a day."""
    found = state_redis().hget(keys.canary(BEAT), SWEPT)
    return int(found) if found else None


@unavailable()
def stations(exchange: str) -> dict[str, Passed]:
    """The newest canary at each station."""
    found = state_redis().hmget(keys.canary(exchange), STATIONS)
    return {name: _passed(stamp) for name, stamp in zip(STATIONS, found, strict=True)}


def _passed(stamp: bytes | None) -> Passed:
    return Passed(*map(int, stamp.split(b"|"))) if stamp else Passed()


def _stamp(exchange: str, station: str, sent_ms: int, also: dict[str, bytes]) -> None:
    key = keys.canary(exchange)
    pipe = state_redis().pipeline(transaction=False)
    pipe.hset(key, mapping={station: f"{sent_ms}|{_now_ms()}", **also})
    pipe.expire(key, KEPT_S)
    pipe.execute()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
