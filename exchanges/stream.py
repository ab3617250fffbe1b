"""All connections of one exchange: placing symbols on sockets, reconnecting for ever, rotating, reporting gaps."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping

from exchanges.clock import Timekeeper
from exchanges.connection import HANDSHAKE_WITHIN_S, Connection, Link
from exchanges.crashes import Crashes
from exchanges.outbox import Outbox
from exchanges.placement import place
from exchanges.silence import PATIENCE_S
from exchanges.slot import Slot, figures, progress
from exchanges.snapshot import StreamSnapshot
from exchanges.spool import Spool
from exchanges.venue import Budget, Limits, Rest, TradeIds, Venue
from exchanges.vigil import Vigil
from livermore.core.candle import BUCKET_NS
from livermore.core.errors import GeoBlocked
from livermore.core.frame import FrameBatch
from livermore.core.gap import Cause, Gap
from livermore.logs import event

log = logging.getLogger(__name__)

HEALTHY_AFTER_S = 60.0
OVERLAP_NS = 1_500_000_000
"""A rotated connection and its successor both run for so long: a second, and what their wires may differ in delay."""
CLOCK_MARGIN_NS = 5_000_000_000
"""A gap is reported wider by this, since the venue's clock is not ours."""


class Stream:
    """The connections of one exchange. All methods return at once, but for `stop`.

    `connects` is asked before every attempt to connect. `publish` may block and may raise `Transient`: a thread
    of its own waits for it. `report` must return at once and must not raise: no gap is told twice. `names` are
    native → canonical. Without a `spool` batches wait in memory alone.
    """

    def __init__(
        self,
        venue: Venue,
        rest: Rest,
        limits: Limits,
        natives: Collection[str],
        *,
        connects: Budget,
        epoch: int,
        publish: Callable[[FrameBatch], None],
        report: Callable[[Gap], None],
        names: Mapping[str, str],
        patience_s: float = PATIENCE_S,
        spool: Spool | None = None,
    ) -> None:
        self._venue, self._limits, self._names, self._report = venue, limits, dict(names), report
        self._outbox = Outbox(publish, self._shed, spool=spool)
        self._wake = threading.Event()
        self._crashes = Crashes()
        shared = (venue.for_stream(), rest, limits, connects, epoch)
        self._link = Link(*shared, self._emit, self._wake.set, self._crashes.note, lambda: self._outbox.ageing.age_ns)
        self._slots: list[Slot] = []
        self._lock = threading.RLock()
        watched = (venue, rest, self._slots, self._lock)
        self._vigil = Vigil(*watched, self._missed, self._wake.set, patience_s, self._crashes)
        self._clock = Timekeeper(venue.slug, rest, lambda: not (self._is_paused or self._refusal), self._crashes)
        self._is_running, self._is_paused, self._refusal, self._errors = False, False, "", 0
        self._place(natives)
        self._thread = threading.Thread(target=self._supervise, name=f"{venue.slug}-stream", daemon=True)

    def start(self) -> None:
        """Connect and keep connected."""
        self._is_running = True
        self._outbox.start()
        self._thread.start()
        self._vigil.start()
        self._clock.start()

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
        for watcher in (self._vigil, self._clock):
            watcher.stop(min(timeout_s, 0.5))
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        with self._lock:
            connections = self._connections()
        for connection in connections:
            connection.close()
        for connection in connections:
            # One without a socket has nothing to publish, and may be waiting for a host that is not there.
            left_s = max(0.1, deadline - time.monotonic())
            connection.join(left_s if connection.opened_ns else min(left_s, 0.5))
        return self._outbox.drain(max(0.1, deadline - time.monotonic()))

    def snapshot(self) -> StreamSnapshot:
        """The state now."""
        with self._lock:
            seen = figures(self._slots)
            state, reason = self._state(is_streaming=seen["since_ns"] is not None)
            return StreamSnapshot(
                state=state,
                reason=reason,
                **seen,
                receiving=min(self._vigil.receiving, seen["acked"]),
                errors=self._errors + self._outbox.failures,
                losses=self._errors,
                **self._outbox.figures(),
                clock=self._clock.estimate,
                crashes=self._crashes.newest(),
            )

    def _state(self, *, is_streaming: bool) -> tuple[str, str]:
        if self._refusal:
            return "refused", self._refusal
        if not self._is_running:
            return "stopped", ""
        if self._is_paused:
            return "paused", "asked to pause"
        if is_streaming:
            return ("degraded", complaint) if (complaint := self._vigil.complaint) else ("streaming", "")
        return progress([s for s in self._slots if s.natives])

    # ---- the supervising thread ------------------------------------------------------------------

    def _supervise(self) -> None:
        rested_s = 0.0
        while self._is_running:
            self._wake.wait(0.1)
            self._wake.clear()
            if time.monotonic() < rested_s:
                continue
            try:
                with self._lock:
                    for slot in list(self._slots):
                        self._tend(slot)
            except Exception as error:
                # The top of a loop that must live.
                log.exception("stream.supervisor_failed")
                self._crashes.note(error)
                rested_s = time.monotonic() + self._crashes.rest_s

    def _tend(self, slot: Slot) -> None:
        """Bring one slot a step closer to a streaming connection."""
        is_wanted = bool(slot.natives) and not self._is_paused and not self._refusal
        for connection in list(slot.connections()):
            if not is_wanted:
                connection.close()
            elif connection.is_stuck():
                connection.close(f"no handshake within {HANDSHAKE_WITHIN_S:g} s")
            if connection.ended.is_set():
                self._bury(slot, connection)
        if slot.current is None:
            if is_wanted and slot.may_retry:
                slot.current = self._connect(slot)
            return
        if slot.current.ready_ns is not None:
            self._streaming(slot, slot.current, slot.current.ready_ns)
        self._note_losses(slot, slot.current)
        if slot.successor is not None:
            self._hand_over(slot, slot.current, slot.successor)

    def _connect(self, slot: Slot) -> Connection:
        connection = Connection(self._link, slot.natives)
        slot.ids.append(connection.id)
        connection.start()
        event(log, "stream.connecting", venue=self._venue.slug, connection=connection.id, symbols=len(slot.natives))
        return connection

    def _streaming(self, slot: Slot, current: Connection, ready_ns: int) -> None:
        if slot.since_ns is None:
            slot.since_ns, slot.error = ready_ns, ""
            event(log, "stream.streaming", venue=self._venue.slug, connection=current.id)
            if slot.deaf_ns is not None:
                known = set(slot.natives) - slot.fresh
                self._gap(Cause.DISCONNECT, known, slot.deaf_ns - CLOCK_MARGIN_NS, ready_ns, current.id)
                slot.deaf_ns = None
        if slot.fresh:
            began_ns = max(ready_ns, slot.fresh_ns)
            self._gap(Cause.START, slot.fresh, began_ns - began_ns % BUCKET_NS, began_ns, current.id)
            slot.fresh = set()
        if not current.wants_rotation:
            if slot.attempt and time.time_ns() - ready_ns > HEALTHY_AFTER_S * 1e9:
                slot.attempt = 0
        elif self._venue.trade_ids is TradeIds.ABSENT:
            current.close()  # without ids an overlap would count trades twice
        elif slot.successor is None and slot.may_retry:
            event(log, "stream.rotating", venue=self._venue.slug, connection=current.id, why=current.wants_rotation)
            slot.successor = self._connect(slot)

    def _hand_over(self, slot: Slot, old: Connection, successor: Connection) -> None:
        if successor.ready_ns and time.time_ns() - successor.ready_ns > OVERLAP_NS:
            old.close()
            slot.leaving.append(old)
            slot.current, slot.successor = successor, None
            event(log, "stream.rotated", venue=self._venue.slug, old=old.id, new=successor.id)

    def _bury(self, slot: Slot, dead: Connection) -> None:
        """A connection has ended: what it counted stays, what it missed is reported, its successor takes over."""
        slot.buried_frames += dead.frames
        self._note_losses(slot, dead)
        if dead in slot.leaving:
            slot.leaving.remove(dead)
            return
        if dead is slot.successor:
            slot.successor = None
        else:
            heir = slot.current = slot.successor
            slot.successor = None
            if heir is not None and heir.ready_ns is not None and heir.ready_ns <= dead.heard_ns:
                event(log, "stream.rotated", venue=self._venue.slug, old=dead.id, new=heir.id)
                return
            slot.since_ns = None
            if dead.ready_ns is not None and slot.deaf_ns is None and slot.natives:
                slot.deaf_ns = dead.heard_ns
        if dead.error is not None:
            self._failed(slot, dead, dead.error)

    def _failed(self, slot: Slot, dead: Connection, error: Exception) -> None:
        """Remember when to try again; a refusal of this host is final."""
        self._errors += 1
        delay_s = slot.wait(error)
        event(
            log, "stream.disconnected", logging.WARNING,
            venue=self._venue.slug, connection=dead.id, error=error, retry_s=round(delay_s, 1),
        )  # fmt: skip
        if isinstance(error, GeoBlocked):
            self._refusal = str(error)

    def _emit(self, batch: FrameBatch) -> None:
        self._outbox.put(batch)
        self._vigil.hear(batch)

    # ---- symbols and gaps ------------------------------------------------------------------------

    def _place(self, natives: Collection[str]) -> None:
        plans = place([slot.natives for slot in self._slots], natives, self._limits.topics_per_connection)
        self._slots += [Slot() for _ in plans[len(self._slots) :]]
        for slot, plan in zip(self._slots, plans, strict=True):
            slot.carry(tuple(plan))

    def _note_losses(self, slot: Slot, connection: Connection) -> None:
        """What the venue's numbering shows missing, and, bucket by bucket, what the venue does not serve."""
        while connection.losses:
            from_ns, to_ns = connection.losses.popleft()
            self._gap(Cause.SEQUENCE, slot.natives, from_ns - CLOCK_MARGIN_NS, to_ns, connection.id)
        now_ns = time.time_ns()
        if slot.refused and now_ns >= slot.told_refused_ns:
            bucket_ns = now_ns - now_ns % BUCKET_NS
            slot.told_refused_ns = bucket_ns + BUCKET_NS
            self._gap(Cause.REFUSED, slot.refused, bucket_ns, slot.told_refused_ns - CLOCK_MARGIN_NS, connection.id)

    def _shed(self, batch: FrameBatch) -> None:
        event(log, "stream.shed", logging.ERROR, batch=batch.id, frames=len(batch.frames))
        with self._lock:
            slot = next((s for s in self._slots if batch.connection in s.ids), None)
            natives = slot.natives if slot is not None else tuple(self._names)
            self._gap(Cause.SHED, natives, batch.arrivals[0][1] - CLOCK_MARGIN_NS, batch.received_ns, batch.connection)

    def _missed(self, natives: Iterable[str], from_ns: int, to_ns: int, connection: str) -> None:
        self._gap(Cause.DISCONNECT, natives, from_ns - CLOCK_MARGIN_NS, to_ns, connection)

    def _gap(self, cause: Cause, natives: Iterable[str], from_ns: int, to_ns: int, connection: str) -> None:
        symbols = tuple(sorted(self._names[n] for n in natives if n in self._names))
        if symbols:  # none would mean all
            self._report(Gap(self._venue.slug, from_ns, to_ns + CLOCK_MARGIN_NS, cause, symbols, connection))

    def _connections(self) -> list[Connection]:
        return [c for slot in self._slots for c in slot.connections()]
