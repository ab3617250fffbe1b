"""A place for one connection and its symbols; connections come and go, the slot stays."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from exchanges.connection import Connection
from livermore.core.errors import RateLimited

BACKOFF_BASE_S = 0.5
BACKOFF_CAP_S = 60.0
AT_LEAST_OF_CAP = 52 / 60
"""A long outage is not knocked at twice a minute: 400 attempts in six hours, still spread over eight seconds each."""
REMEMBERED_IDS = 1_000


@dataclass(eq=False)
class Slot:
    """Everything a stream knows of one place; whoever changes it holds the stream's lock.

    `since_ns` is since when it streams without interruption; `deaf_ns` since when it does not, once it did.
    `fresh` are the symbols that have not streamed here yet, wanted since `fresh_ns`. `leaving` are replaced
    connections that have not ended. `told_refused_ns` is until when refused symbols have been reported.
    """

    natives: tuple[str, ...] = ()
    current: Connection | None = None
    successor: Connection | None = None
    leaving: list[Connection] = field(default_factory=list)
    attempt: int = 0
    retry_at: float = 0.0
    error: str = ""
    since_ns: int | None = None
    deaf_ns: int | None = None
    fresh: set[str] = field(default_factory=set)
    fresh_ns: int = 0
    told_refused_ns: int = 0
    buried_frames: int = 0
    ids: deque[str] = field(default_factory=lambda: deque(maxlen=REMEMBERED_IDS))

    def connections(self) -> Iterator[Connection]:
        """All that have not been buried."""
        yield from filter(None, (self.current, self.successor))
        yield from self.leaving

    def carry(self, natives: tuple[str, ...]) -> None:
        """Carry other symbols from now on; the connections are told."""
        if natives == self.natives:
            return
        added = set(natives).difference(self.natives)
        if added:
            self.fresh_ns = time.time_ns()
        self.fresh = (self.fresh | added).intersection(natives)
        self.natives = natives
        if not natives:
            self.deaf_ns = None
        for connection in filter(None, (self.current, self.successor)):
            connection.follow(natives)

    def wait(self, error: Exception) -> float:
        """Back off after a failure, longer each time and never in step with others; says how long (s)."""
        self.attempt += 1
        ceiling_s = min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2 ** min(self.attempt, 10))
        floor_s = AT_LEAST_OF_CAP * BACKOFF_CAP_S if ceiling_s == BACKOFF_CAP_S else 0.1
        delay_s = random.uniform(floor_s, ceiling_s)  # noqa: S311 (jitter, not a secret)
        if isinstance(error, RateLimited):
            delay_s += max(0.0, error.until_ms / 1000 - time.time())
        self.retry_at = time.monotonic() + delay_s
        self.error = str(error)
        return delay_s

    @property
    def may_retry(self) -> bool:
        """Is the back-off over?"""
        return time.monotonic() >= self.retry_at

    @property
    def refused(self) -> set[str]:
        """Its symbols that the venue does not serve."""
        return self.current.refused & set(self.natives) if self.current is not None else set()

    @property
    def complaint(self) -> str:
        """Why it does not stream."""
        if self.current is not None and self.refused:
            return f"{len(self.refused)} of {len(self.natives)} symbols refused: {self.current.refusal}"
        return self.error

    @property
    def frames(self) -> int:
        """Market data frames since the start."""
        return self.buried_frames + sum(c.frames for c in self.connections())


def figures(slots: Sequence[Slot]) -> dict[str, Any]:
    """What a stream's snapshot says of them."""
    wanted = [s for s in slots if s.natives]
    live = [s for s in wanted if s.since_ns is not None]
    connections = [c for s in slots for c in s.connections()]
    return {
        "sockets": len([c for c in connections if c.opened_ns and not c.ended.is_set()]),
        "wanted": sum(len(s.natives) for s in wanted),
        "acked": sum(len(s.natives) - len(s.refused) for s in live),
        "frames": sum(s.frames for s in slots),
        "since_ns": max(s.since_ns or 0 for s in live) if wanted and len(live) == len(wanted) else None,
        "last_frame_ns": max((c.last_frame_ns for c in connections), default=0),
    }


def progress(slots: Sequence[Slot]) -> tuple[str, str]:
    """State and reason of a stream whose slots do not all stream."""
    if not slots:
        return "connecting", "no symbols to stream"
    reason = next((s.complaint for s in slots if s.since_ns is None and s.complaint), "")
    if any(s.since_ns is not None for s in slots):
        return "degraded", reason
    if any(s.current is not None and s.current.opened_ns for s in slots):
        return "subscribing", reason
    return ("backing_off" if reason else "connecting"), reason
