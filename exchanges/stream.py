"""All connections of one exchange: placing symbols on sockets, reconnecting for ever, rotating, reporting gaps."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from exchanges.connection import Connection, Link
from exchanges.outbox import Outbox
from exchanges.placement import place
from exchanges.snapshot import StreamSnapshot
from exchanges.venue import Limits, Rest, TradeIds, Venue
from livermore.core.candle import BUCKET_NS
from livermore.core.errors import GeoBlocked, RateLimited
from livermore.core.frame import FrameBatch
from livermore.core.gap import Cause, Gap
from livermore.logs import event

log = logging.getLogger(__name__)

BACKOFF_BASE_S = 0.5
BACKOFF_CAP_S = 60.0
HEALTHY_AFTER_S = 60.0
OVERLAP_NS = 1_000_000_000
"""A rotated connection and its successor both run for at least so long."""
CLOCK_MARGIN_NS = 5_000_000_000
"""A gap is reported wider by this, since the venue's clock is not ours."""


@dataclass
class _Slot:
    """A place for one connection and its symbols; connections come and go, the slot stays."""

    natives: tuple[str, ...]
    current: Connection | None = None
    successor: Connection | None = None
    attempt: int = 0
    retry_at: float = 0.0
    error: str = ""
    since_ns: int | None = None
    gap_from_ns: int | None = None
    gap_cause: Cause = Cause.START
    frames: int = 0


class Stream:
    """The connections of one exchange. All methods return at once, but for `stop`."""

    def __init__(
        self,
        venue: Venue,
        rest: Rest,
        limits: Limits,
        natives: Collection[str],
        *,
        epoch: int,
        publish: Callable[[FrameBatch], None],
        report: Callable[[Gap], None],
        names: Mapping[str, str],
    ) -> None:
        self._venue, self._limits, self._names, self._report = venue, limits, dict(names), report
        self._outbox = Outbox(publish, self._shed)
        self._wake = threading.Event()
        self._link = Link(venue, rest, limits, epoch, self._outbox.put, self._wake.set)
        self._slots: list[_Slot] = []
        self._lock = threading.RLock()
        self._is_running, self._is_paused, self._refusal = False, False, ""
        self._errors = 0
        self._place(natives)
        self._thread = threading.Thread(target=self._supervise, name=f"{venue.slug}-stream", daemon=True)

    def start(self) -> None:
        """Connect and keep connected."""
        self._is_running = True
        self._outbox.start()
        self._thread.start()

    def follow(self, natives: Collection[str], names: Mapping[str, str]) -> None:
        """Follow another set of symbols; only the sockets whose symbols change are told."""
        with self._lock:
            self._names = dict(names)
            self._place(natives)
        self._wake.set()

    def roll(self) -> None:
        """Replace every connection, successor first where trade ids remove the duplicates."""
        with self._lock:
            for slot in self._slots:
                if slot.current is not None:
                    slot.current.wants_rotation = "asked to roll"
        self._wake.set()

    def pause(self) -> None:
        """Close all sockets until `resume`."""
        self._is_paused = True
        self._wake.set()

    def resume(self) -> None:
        """Connect again; what was missed is reported as a gap."""
        self._is_paused = False
        self._wake.set()

    def stop(self, timeout_s: float) -> bool:
        """Close every socket with 1000, publish what is left. True when nothing was left behind."""
        deadline = time.monotonic() + timeout_s
        self._is_running = False
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        connections = self._connections()
        for connection in connections:
            connection.close()
        for connection in connections:
            connection.join(max(0.1, deadline - time.monotonic()))
        return self._outbox.drain(max(0.1, deadline - time.monotonic()))

    def snapshot(self) -> StreamSnapshot:
        """The state now."""
        with self._lock:
            slots = list(self._slots)
            live = [s for s in slots if s.current and s.current.ready_ns]
            now = time.time_ns()
            fresh_ns = self._limits.silence_s * 1e9
            last_ns = max((c.last_frame_ns for c in self._connections()), default=0)
            since = [s.since_ns for s in slots]
            state, reason = self._state(slots, live)
            return StreamSnapshot(
                state=state,
                reason=reason,
                sockets=len([c for c in self._connections() if not c.ended.is_set()]),
                wanted=sum(len(s.natives) for s in slots),
                acked=sum(len(s.natives) - len(_current(s).refused) for s in live),
                receiving=sum(len(s.natives) for s in live if now - _current(s).last_frame_ns < fresh_ns),
                frames=sum(s.frames for s in slots) + sum(c.frames for c in self._connections()),
                batches=self._outbox.published,
                since_ns=max(s for s in since if s) if slots and all(since) else None,
                last_frame_ns=last_ns,
                errors=self._errors + self._outbox.failures,
                spooled=len(self._outbox),
            )

    def _state(self, slots: list[_Slot], live: list[_Slot]) -> tuple[str, str]:
        if self._refusal:
            return "refused", self._refusal
        if not self._is_running:
            return "stopped", ""
        if self._is_paused:
            return "paused", "asked to pause"
        if slots and len(live) == len(slots):
            return "streaming", ""
        reason = next((s.error for s in slots if s.error), "")
        if live:
            return "degraded", reason
        if any(s.current and s.current.last_frame_ns for s in slots):
            return "subscribing", reason
        return ("backing_off" if reason else "connecting"), reason

    # ---- the supervising thread ------------------------------------------------------------------

    def _supervise(self) -> None:
        while self._is_running:
            self._wake.wait(0.1)
            self._wake.clear()
            try:
                with self._lock:
                    for slot in list(self._slots):
                        self._tend(slot)
            except Exception:
                # The top of a loop that must live.
                log.exception("stream.supervisor_failed")

    def _tend(self, slot: _Slot) -> None:
        """Bring one slot a step closer to a streaming connection."""
        if self._is_paused or self._refusal or not slot.natives:
            for connection in filter(None, (slot.current, slot.successor)):
                connection.close()
        if slot.successor is not None:
            self._hand_over(slot, slot.successor)
        current = slot.current
        if current is None:
            if not (self._is_paused or self._refusal) and slot.natives and time.monotonic() >= slot.retry_at:
                slot.current = self._connect(slot)
            return
        if current.ended.is_set():
            self._bury(slot, current)
        elif current.ready_ns is not None:
            self._streaming(slot, current, current.ready_ns)

    def _connect(self, slot: _Slot) -> Connection:
        connection = Connection(self._link, slot.natives)
        connection.start()
        event(log, "stream.connecting", venue=self._venue.slug, connection=connection.id, symbols=len(slot.natives))
        return connection

    def _streaming(self, slot: _Slot, current: Connection, ready_ns: int) -> None:
        if slot.since_ns is None:
            slot.since_ns = ready_ns
            slot.error = ""
            event(log, "stream.streaming", venue=self._venue.slug, connection=current.id)
            start_ns = slot.gap_from_ns or ready_ns - ready_ns % BUCKET_NS
            self._gap(slot, slot.gap_cause, start_ns, ready_ns, current.id)
            slot.gap_from_ns, slot.gap_cause = None, Cause.DISCONNECT
        if slot.attempt and time.time_ns() - ready_ns > HEALTHY_AFTER_S * 1e9:
            slot.attempt = 0
        while current.losses:
            from_ns, to_ns = current.losses.popleft()
            self._gap(slot, Cause.SEQUENCE, from_ns, to_ns, current.id)
        if current.wants_rotation and slot.successor is None:
            event(log, "stream.rotating", venue=self._venue.slug, connection=current.id, why=current.wants_rotation)
            if self._venue.trade_ids is TradeIds.ABSENT:
                current.close()  # without ids an overlap would count trades twice
            else:
                slot.successor = self._connect(slot)

    def _hand_over(self, slot: _Slot, successor: Connection) -> None:
        if successor.ended.is_set():
            slot.successor = None  # tried again with the next step while the old connection lives
        elif successor.ready_ns and time.time_ns() - successor.ready_ns > OVERLAP_NS:
            if slot.current is not None:
                slot.current.close()
                slot.frames += slot.current.frames
                event(log, "stream.rotated", venue=self._venue.slug, old=slot.current.id, new=successor.id)
            slot.current, slot.successor = successor, None
            if slot.since_ns is None:
                slot.since_ns = successor.ready_ns

    def _bury(self, slot: _Slot, dead: Connection) -> None:
        """The connection has ended: remember since when we are deaf, and when to try again."""
        slot.frames += dead.frames
        was_heard_ns = dead.last_frame_ns or time.time_ns()
        overlap = slot.successor
        if overlap is not None and overlap.ready_ns and overlap.ready_ns < was_heard_ns and not overlap.ended.is_set():
            slot.current, slot.successor = overlap, None
            return
        if dead.ready_ns is not None and slot.gap_from_ns is None:
            slot.gap_from_ns, slot.gap_cause = was_heard_ns, Cause.DISCONNECT
        slot.current, slot.since_ns = None, None
        slot.attempt += 1
        ceiling_s = min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2 ** min(slot.attempt, 10))
        delay_s = random.uniform(0.1, ceiling_s)  # noqa: S311 (jitter, not a secret)
        if isinstance(dead.error, RateLimited):
            delay_s += max(0.0, dead.error.until_ms / 1000 - time.time())
        slot.retry_at = time.monotonic() + delay_s
        if dead.error is None:
            return
        self._errors += 1
        slot.error = str(dead.error)
        event(
            log, "stream.disconnected", logging.WARNING,
            venue=self._venue.slug, connection=dead.id, error=dead.error, retry_s=round(delay_s, 1),
        )  # fmt: skip
        if isinstance(dead.error, GeoBlocked):
            self._refusal = str(dead.error)

    # ---- symbols and gaps ------------------------------------------------------------------------

    def _place(self, natives: Collection[str]) -> None:
        plans = place([slot.natives for slot in self._slots], natives, self._limits.topics_per_connection)
        for slot, plan in zip(self._slots, plans, strict=False):
            if tuple(plan) != slot.natives:
                slot.natives = tuple(plan)
                for connection in filter(None, (slot.current, slot.successor)):
                    connection.follow(slot.natives)
        self._slots += [_Slot(tuple(plan)) for plan in plans[len(self._slots) :]]

    def _gap(self, slot: _Slot, cause: Cause, from_ns: int, to_ns: int, connection: str) -> None:
        symbols = tuple(sorted(self._names[n] for n in slot.natives if n in self._names))
        if cause is not Cause.START:  # a start begins with its bucket, on the venue's clock
            from_ns -= CLOCK_MARGIN_NS
        self._report(Gap(self._venue.slug, from_ns, to_ns + CLOCK_MARGIN_NS, cause, symbols, connection))

    def _shed(self, batch: FrameBatch) -> None:
        event(log, "stream.shed", logging.ERROR, batch=batch.id, frames=len(batch.frames))
        slot = next((s for s in self._slots if batch.connection in _ids(s)), None) or _Slot(tuple(self._names))
        self._gap(slot, Cause.SHED, batch.arrivals[0][1], batch.received_ns, batch.connection)

    def _connections(self) -> list[Connection]:
        return [c for slot in self._slots for c in (slot.current, slot.successor) if c is not None]


def _ids(slot: _Slot) -> set[str]:
    return {c.id for c in (slot.current, slot.successor) if c is not None}


def _current(slot: _Slot) -> Connection:
    assert slot.current is not None
    return slot.current
