"""The public state of an exchange's stream: the fields of `stream:{exchange}`."""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import islice
from statistics import median
from typing import Any, Protocol

from exchanges.clock import Estimate
from exchanges.crashes import Crashes
from exchanges.lease import Lease
from exchanges.lifecycle import State
from exchanges.running import Plan
from exchanges.snapshot import StreamSnapshot
from exchanges.state import state_redis, unavailable
from livermore.core import keys

_RATE_OVER_S = 0.9
_LAG_OF = 50
_LAG_WITHIN_MS = 10_000
_NOTHING = StreamSnapshot(state="stopped")


class Reported(Protocol):
    """Whose state is reported."""

    plan: Plan
    host: str
    state: State
    reason: str
    lease: Lease | None
    held_by: str
    crashes: Crashes

    @property
    def config_version(self) -> int: ...
    def region(self) -> str: ...


class Report:
    """Remembers the last count of frames, from which the rate follows, and the last lag; new about every second."""

    def __init__(self) -> None:
        self._counted_at = time.monotonic()
        self._frames = 0
        self._rate = 0.0
        self._lag_ms: float | None = None

    def fields(
        self, source: Reported, seen: StreamSnapshot | None, symbols: Iterable[str] = ()
    ) -> dict[str, Any]:
        """Counts are of this stream since its start; None where nothing is known. Times are ms UTC.

        `symbols` are the canonical names it streams. Raises `StoreUnavailable`.
        """
        now = seen or _NOTHING
        self._measure(source.plan.slug, now, symbols)
        return {
            "state": str(source.state),
            "reason": reason(source),
            "host": source.host,
            "epoch": source.lease.epoch if source.lease else None,
            "region": source.region() if source.state is not State.IDLE else "",
            "endpoint": " ".join(filter(None, (source.plan.endpoint.rest, source.plan.endpoint.ws))),
            "endpoint_overridden": int(source.plan.is_endpoint_overridden),
            "config_version": source.config_version,
            "sockets": now.sockets,
            "wanted": now.wanted,
            "acked": now.acked,
            "receiving": now.receiving,
            "frames": now.frames,
            "bytes": now.bytes,
            "batches": now.batches,
            "losses": now.losses,
            "frames_per_s": round(self._rate, 1),
            "lag_ms": self._lag_ms,
            **_clock(now.clock),
            "since_ms": now.since_ns // 1_000_000 if now.since_ns else None,
            "last_frame_ms": now.last_frame_ns // 1_000_000 or None,
            "spooled": now.spooled,
            "spooled_bytes": now.spooled_bytes,
            "spooled_from_ms": now.spooled_from_ns // 1_000_000 if now.spooled_from_ns else None,
            "errors": now.errors,
            **source.crashes.fields(),
        }

    def _measure(self, exchange: str, seen: StreamSnapshot, symbols: Iterable[str]) -> None:
        now, frames = time.monotonic(), seen.frames
        if frames < self._frames:  # another stream counts from zero
            self._frames, self._rate = 0, 0.0
        if now - self._counted_at >= _RATE_OVER_S:
            self._rate = (frames - self._frames) / (now - self._counted_at)
            self._counted_at, self._frames = now, frames
            self._lag_ms = lag_ms(exchange, symbols, seen.clock.proven_ms if seen.clock else 0.0)


@unavailable()
def lag_ms(exchange: str, symbols: Iterable[str], offset_ms: float = 0.0) -> float | None:
    """How long after its trade a frame reaches us: the median of the newest tickers.

    The venue's times are taken back by `offset_ms`, by which its clock is known to be ahead of ours: a clock that is
    wrong is no latency. Where that is not known (0), or no more than its uncertainty, it looks like one.
    Up to `_LAG_OF` symbols are asked, of which those count that traded within `_LAG_WITHIN_MS`; None without.
    """
    pipe = state_redis().pipeline(transaction=False)
    for symbol in islice(symbols, _LAG_OF):
        pipe.hmget(keys.ticker(exchange, symbol), "time_ms", "received_ms")
    since_ms = time.time_ns() // 1_000_000 - _LAG_WITHIN_MS
    known = [(int(told), int(received)) for told, received in pipe.execute() if told and received]
    lags = [received - told for told, received in known if received >= since_ms]
    return round(median(lags) + offset_ms, 1) if lags else None


def _clock(known: Estimate | None) -> dict[str, Any]:
    """The last estimate, however old, with its age: whoever decides by it judges that."""
    return {
        "clock_offset_ms": round(known.offset_ms, 1) if known else None,
        "clock_uncertainty_ms": round(known.uncertainty_ms, 1) if known else None,
        "clock_measured_ms": known.measured_ms if known else None,
    }


def reason(source: Reported) -> str:
    """Why it is in its state; for an idle one who runs it instead, or what would start it."""
    if source.state is not State.IDLE:
        return source.reason
    if source.held_by:
        return source.held_by
    if not source.plan.is_enabled:
        return "disabled in its row; an operator may enable it"
    why = f"{source.reason}; " if source.reason else ""
    return f"{why}nothing connects until told; start it with: python manage.py start_exchange {source.plan.slug}"
