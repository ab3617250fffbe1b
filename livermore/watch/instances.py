"""The stream hosts there are, and those that were here within a day and are lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from exchanges import observed
from exchanges.state import state_redis, unavailable
from livermore.core import keys

LOST = "lost"
LOST_AFTER_MS = observed.LIVE_WITHIN_MS


@dataclass(frozen=True, slots=True)
class Instance:
    """A stream host. `state` is init, ready, draining, or lost: no heartbeat for ten seconds, and it took no leave.

    `exchanges` tells those it serves, with the `epoch` of the lease it holds. `clock_offset_ms` is how far its clock
    is ahead of the state Redis's, right within `clock_uncertainty_ms`; `rtt_ms` how long that takes to answer. What
    is not known of one that was lost half a minute ago is None or empty.
    """

    name: str
    state: str
    heartbeat_ms: int
    region: str = ""
    reason: str = ""
    version: str = ""
    started_ms: int | None = None
    rtt_ms: float | None = None
    clock_offset_ms: float | None = None
    clock_uncertainty_ms: float | None = None
    exchanges: tuple[dict[str, Any], ...] = ()

    @property
    def runs(self) -> tuple[dict[str, Any], ...]:
        """Those whose lease it holds."""
        return tuple(its for its in self.exchanges if its["epoch"] is not None)


@unavailable()
def instances(now_ms: int) -> list[Instance]:
    """By name. Raises `StoreUnavailable`."""
    beats = state_redis().zrange(keys.hosts(), 0, -1, withscores=True)
    return sorted((_instance(name.decode(), int(beat_ms), now_ms) for name, beat_ms in beats), key=lambda i: i.name)


def _instance(name: str, beat_ms: int, now_ms: int) -> Instance:
    host = observed.host(name)
    is_lost = now_ms - beat_ms > LOST_AFTER_MS
    if host is None:
        return Instance(name, LOST if is_lost else "unknown", beat_ms)
    return Instance(
        name,
        LOST if is_lost else host.state,
        beat_ms,
        host.region,
        host.reason,
        host.version,
        host.started_ms,
        host.rtt_ms,
        host.clock_offset_ms,
        host.clock_uncertainty_ms,
        tuple({"exchange": slug, "epoch": None, **its} for slug, its in sorted(host.exchanges.items())),
    )
