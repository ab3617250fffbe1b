"""Between the sockets and the broker: a bounded queue, so that a reader never waits for the broker."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from exchanges.batching import Ageing
from exchanges.segment import Record
from exchanges.spool import Spool
from exchanges.wire import pack, unpack
from livermore.core.errors import Transient
from livermore.core.frame import FrameBatch
from livermore.logs import event

log = logging.getLogger(__name__)

MAX_QUEUED_BYTES = 128 * 1024 * 1024
PACKED_FROM = 64
"""Behind so many batches one waits packed, or on disk where there is a spool."""
SPOOLED_AFTER_S = 1.0
"""A batch that waits longer goes to disk, with all behind it: what a killed host held in memory is lost."""
KEEP_EVERY_S = 0.2
SYNC_EVERY_S = 1.0
ADOPT_EVERY_S = 60.0
TRIES = 5
"""An error that nobody foresaw may pass too; after so many tries the batch is at fault, not the broker."""
BACKOFF_BASE_S = 0.25
BACKOFF_CAP_S = 5.0


class Outbox:
    """One thread that publishes batches in order and keeps them while the broker is away.

    With a `spool` a second thread moves what waits to disk, and what a dead owner left there is published first. When
    more than `max_bytes` wait in memory, or more than the spool's bound on disk, the oldest batches are dropped and
    handed to `shed`, which must record the loss; so is a batch that cannot be published at all.
    """

    def __init__(
        self,
        publish: Callable[[FrameBatch], None],
        shed: Callable[[FrameBatch], None],
        *,
        spool: Spool | None = None,
        max_bytes: int = MAX_QUEUED_BYTES,
    ) -> None:
        self._publish, self._shed, self._spool, self._max_bytes = publish, shed, spool, max_bytes
        # The batch in hand is the oldest; then comes what is on disk, then what is in memory.
        self._in_hand: _Waiting | None = None  # while it is not on disk
        self._record: Record | None = None  # while it is
        self._waiting: deque[_Waiting] = deque()
        self._bytes = 0
        self._changed = threading.Condition()  # guards what is in memory; readers take it
        self._head = threading.Lock()  # guards the spool and which batch is the oldest; taken before the other
        self._give_up_at: float | None = None
        self._surprises = 0
        self._is_closed = threading.Event()
        self.ageing = Ageing()
        self.published = self.taken_bytes = 0
        self.failures = 0
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._keeper = threading.Thread(target=self._keep, name="outbox-spool", daemon=True)

    def __len__(self) -> int:
        """Batches that have not been published."""
        return len(self._waiting) + (self._in_hand is not None) + len(self._spool or ())

    def figures(self) -> dict[str, Any]:
        """What a stream's snapshot says of it."""
        with self._changed:
            oldest = self._oldest()
            found = [oldest.oldest_ns if oldest else None, self._spool.oldest_ns if self._spool else None]
            return {
                "batches": self.published,
                "bytes": self.taken_bytes,
                "spooled": len(self),
                "spooled_bytes": self._bytes + (self._spool.bytes if self._spool else 0),
                "spooled_from_ns": min((ns for ns in found if ns is not None), default=None),
            }

    def start(self) -> None:
        """Begin to publish."""
        self._thread.start()
        if self._spool is not None:
            self._keeper.start()

    def put(self, batch: FrameBatch) -> None:
        """Take a batch; returns at once."""
        dropped = []
        with self._changed:
            waiting = _Waiting(batch, is_packed=len(self._waiting) >= PACKED_FROM)
            self.taken_bytes += waiting.raw_bytes
            self.ageing.saw(len(self))
            self._waiting.append(waiting)
            self._bytes += waiting.bytes
            while self._bytes > self._max_bytes and len(self._waiting) > 1:
                oldest = self._waiting.popleft()
                self._bytes -= oldest.bytes
                dropped.append(oldest)
            self._changed.notify_all()
        for lost in dropped:
            self._shed(lost.batch())

    def drain(self, timeout_s: float) -> bool:
        """Publish what waits, trying again until time is up, and end. True when nothing is left, not even on disk."""
        with self._changed:
            self._give_up_at = time.monotonic() + timeout_s
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        left = len(self)
        if self._spool is not None:
            self._close(self._spool)
        return left == 0

    # ---- the thread that publishes ---------------------------------------------------------------

    def _run(self) -> None:
        if self._spool is not None:
            with self._head:
                self._spool.adopt()
        while (batch := self._next()) is not None:
            self._surprises = tries = 0
            while not self._is_done_with(batch):
                tries += 1
                if self._has_given_up(tries):
                    return

    def _next(self) -> FrameBatch | None:
        """The oldest batch, waited for; None at the end."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: len(self) or self._give_up_at is not None)
                if not len(self):
                    return None
            with self._head:
                found = self._spool.first() if self._spool else None
                if found is not None:
                    self._record = found[0]
                    return found[1]
                with self._changed:
                    if self._waiting:
                        self._in_hand = self._waiting.popleft()
                        return self._in_hand.batch()

    def _is_done_with(self, batch: FrameBatch) -> bool:
        try:
            self._publish(batch)
        except Transient as error:
            self.failures += 1
            event(log, "outbox.waiting", logging.WARNING, batch=batch.id, waiting=len(self), error=error)
            return False
        except Exception:
            # The top of a loop that must live.
            self.failures += 1
            log.exception("outbox.failed")
            self._surprises += 1
            if self._surprises < TRIES:
                return False
            self._shed(batch)
        else:
            self.published += bool(batch.frames)  # a canary is none of the venue's
            event(log, "batch.published", logging.DEBUG, batch=batch.id, exchange=batch.exchange, waiting=len(self) - 1)
        with self._head:
            self._done()
        return True

    def _done(self) -> None:
        if self._in_hand is not None:
            with self._changed:
                self._bytes -= self._in_hand.bytes
                self._in_hand = None
        elif self._spool is not None and self._record is not None:
            self._spool.drop(self._record)
        self._record = None

    def _has_given_up(self, tries: int) -> bool:
        """Waits a moment before the next try; more batches do not shorten it, the end does."""
        ceiling_s = min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2 ** min(tries, 10))
        delay_s = random.uniform(ceiling_s / 2, ceiling_s)  # noqa: S311 (jitter, not a secret)
        with self._changed:
            was_ending = self._give_up_at is not None
            self._changed.wait_for(lambda: not was_ending and self._give_up_at is not None, delay_s)
            return self._give_up_at is not None and time.monotonic() >= self._give_up_at

    # ---- the thread that moves to disk -----------------------------------------------------------

    def _keep(self) -> None:
        synced_s = adopted_s = time.monotonic()
        while self._spool is not None and not self._is_closed.wait(KEEP_EVERY_S):
            now_s = time.monotonic()
            try:
                if self._must_spool(self._spool, now_s):
                    self._move(self._spool)
                with self._head:
                    if now_s - synced_s >= SYNC_EVERY_S:
                        synced_s = now_s
                        self._spool.sync()
                    if now_s - adopted_s >= ADOPT_EVERY_S:
                        adopted_s = now_s
                        self._spool.adopt()
            except Exception:
                # The top of a loop that must live.
                log.exception("outbox.spool_failed")

    def _must_spool(self, spool: Spool, now_s: float) -> bool:
        with self._changed:
            oldest = self._oldest()
            if oldest is None:
                return False
            return bool(len(spool)) or len(self._waiting) > PACKED_FROM or now_s - oldest.put_s > SPOOLED_AFTER_S

    def _oldest(self) -> _Waiting | None:
        """Of those in memory."""
        return self._in_hand or (self._waiting[0] if self._waiting else None)

    def _move(self, spool: Spool) -> None:
        """Everything in memory to disk, the batch in hand first; where the disk is full, the oldest there goes."""
        with self._head:
            with self._changed:
                moving = [*filter(None, (self._in_hand,)), *self._waiting]
            for waiting in moving:
                try:
                    record = self._written(spool, waiting.body())
                except OSError as error:
                    event(log, "spool.refused", logging.ERROR, waiting=len(self), error=error)
                    return
                self._moved(waiting, record)

    def _written(self, spool: Spool, body: dict[str, Any]) -> Record:
        try:
            record = spool.append(body)
        except OSError as error:
            for lost in spool.overflow(error):
                self._shed(lost)
            return spool.append(body)
        for lost in spool.overflow():
            self._shed(lost)
        return record

    def _moved(self, waiting: _Waiting, record: Record) -> None:
        """Nobody else takes from the front but `put`, when memory runs out."""
        with self._changed:
            if waiting is self._in_hand:
                self._in_hand, self._record = None, record
            elif self._waiting and self._waiting[0] is waiting:
                self._waiting.popleft()
            else:
                return
            self._bytes -= waiting.bytes

    def _close(self, spool: Spool) -> None:
        """What could not be published stays on disk for the next owner."""
        self._is_closed.set()
        if self._keeper.ident is not None:
            self._keeper.join()
        self._move(spool)
        with self._head:
            spool.close()


class _Waiting:
    """A batch in the queue, as it is or compressed; `bytes` is what its frames take now, `raw_bytes` what they took
    on the wire, `put_s` since when it waits."""

    __slots__ = ("_held", "bytes", "oldest_ns", "put_s", "raw_bytes")

    def __init__(self, batch: FrameBatch, *, is_packed: bool) -> None:
        self._held: FrameBatch | dict[str, Any] = batch
        self.bytes = self.raw_bytes = sum(map(len, batch.frames))
        self.oldest_ns = batch.arrivals[0][1] if batch.arrivals else None
        self.put_s = time.monotonic()
        if is_packed:
            self._held = pack(batch)
            # The compressor's own buffer was cut to size in place, which leaves holes that nothing fits into.
            self._held["frames"] = memoryview(self._held["frames"]).tobytes()
            self.bytes = len(self._held["frames"])

    def batch(self) -> FrameBatch:
        """As it was put."""
        return self._held if isinstance(self._held, FrameBatch) else unpack(self._held)

    def body(self) -> dict[str, Any]:
        """As it goes to disk."""
        return pack(self._held) if isinstance(self._held, FrameBatch) else self._held
