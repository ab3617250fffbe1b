"""What the stream hosts last said about their exchanges, as values for pages, API and health."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from candles.services import drift
from candles.services.drift import Drift
from exchanges.models import Exchange
from exchanges.observed import LIVE_WITHIN_MS
from exchanges.state import state_redis
from livermore.core import keys
from livermore.web.state import texts

IDLE_STATES = frozenset({"idle", "stopped", ""})
_LOOPBACK = ("127.", "localhost", "::1")


def now_ms() -> int:
    """This process's clock."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class StreamState:
    """One exchange's stream as observed; numbers are None until a host has said them."""

    exchange: str
    title: str
    state: str
    reason: str
    host: str
    epoch: int | None
    region: str
    endpoint: str
    endpoint_overridden: bool
    config_version: int | None
    row_version: int
    sockets: int | None
    wanted: int | None
    acked: int | None
    receiving: int | None
    frames: int | None
    frames_per_s: float | None
    lag_ms: float | None
    clock_offset_ms: float | None
    clock_uncertainty_ms: float | None
    clock_measured_ms: int | None
    since_ms: int | None
    last_frame_ms: int | None
    spooled: int | None
    spooled_bytes: int | None
    spooled_from_ms: int | None
    crashes: int | None
    crashed_ms: int | None
    is_crashing: bool
    traceback: str
    updated_ms: int | None
    drift: Drift

    @property
    def is_idle(self) -> bool:
        """Has nobody told it to connect?"""
        return self.state in IDLE_STATES

    @property
    def is_simulated(self) -> bool:
        """Do its frames come from this machine rather than from the venue?"""
        host = urlsplit(self.endpoint.split()[0] if self.endpoint else "").hostname or ""
        return host.startswith(_LOOPBACK)

    @property
    def is_silent(self) -> bool:
        """Has its host stopped reporting although it was not idle?"""
        return not self.is_idle and (self.updated_ms or 0) < now_ms() - LIVE_WITHIN_MS

    @property
    def why(self) -> str:
        """One sentence for people."""
        if self.is_silent:
            return "its stream host no longer reports"
        if self.reason:
            return self.reason
        return "nothing connects until it is told to" if self.is_idle else ""

    @property
    def command(self) -> str:
        """What to type next; empty when nothing is needed."""
        return f"python manage.py start_exchange {self.exchange}" if self.is_idle or self.is_silent else ""

    def public(self) -> dict[str, Any]:
        """The fields of the API."""
        return asdict(self) | {
            "why": self.why,
            "simulated": self.is_simulated,
            "silent": self.is_silent,
            "start_command": self.command or None,
            "age_ms": None if self.last_frame_ms is None else max(0, now_ms() - self.last_frame_ms),
        }


def observe(exchanges: Iterable[Exchange]) -> list[StreamState]:
    """The newest observed state of each; an exchange no host ever spoke of is idle."""
    rows = list(exchanges)
    pipeline = state_redis().pipeline(transaction=False)
    for row in rows:
        pipeline.hgetall(keys.stream(row.slug))
    odd = drift.of([row.slug for row in rows])
    return [state_of(row, texts(said), its) for row, said, its in zip(rows, pipeline.execute(), odd, strict=True)]


def state_of(row: Exchange, said: Mapping[str, str], odd: Drift) -> StreamState:
    """A row, the hash of `keys.stream` and what does not fit, as one value."""
    endpoint = row.endpoint()
    return StreamState(
        exchange=row.slug,
        title=row.title,
        state=said.get("state", "idle").lower(),
        reason=said.get("reason", "") if said else "no stream host reports; nothing connects until one is told to",
        host=said.get("host", ""),
        epoch=_whole(said.get("epoch")),
        region=said.get("region", ""),
        endpoint=said.get("endpoint") or endpoint.ws or endpoint.rest,
        endpoint_overridden=_is_true(said.get("endpoint_overridden"), row.is_endpoint_overridden),
        config_version=_whole(said.get("config_version")),
        row_version=row.config_version,
        sockets=_whole(said.get("sockets")),
        wanted=_whole(said.get("wanted")),
        acked=_whole(said.get("acked")),
        receiving=_whole(said.get("receiving")),
        frames=_whole(said.get("frames")),
        frames_per_s=_number(said.get("frames_per_s")),
        lag_ms=_number(said.get("lag_ms")),
        clock_offset_ms=_number(said.get("clock_offset_ms")),
        clock_uncertainty_ms=_number(said.get("clock_uncertainty_ms")),
        clock_measured_ms=_whole(said.get("clock_measured_ms")),
        since_ms=_whole(said.get("since_ms")),
        last_frame_ms=_whole(said.get("last_frame_ms")),
        spooled=_whole(said.get("spooled")),
        spooled_bytes=_whole(said.get("spooled_bytes")),
        spooled_from_ms=_whole(said.get("spooled_from_ms")),
        crashes=_whole(said.get("crashes")),
        crashed_ms=_whole(said.get("crashed_ms")),
        is_crashing=_is_true(said.get("crash_looping"), otherwise=False),
        traceback=said.get("traceback", ""),
        updated_ms=_whole(said.get("updated_ms")),
        drift=odd,
    )


def _number(text: str | None) -> float | None:
    return float(text) if text else None


def _whole(text: str | None) -> int | None:
    return int(float(text)) if text else None


def _is_true(text: str | None, otherwise: bool) -> bool:
    return otherwise if text is None else text.lower() in {"1", "true", "yes"}
