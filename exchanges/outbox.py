"""Between the sockets and the broker: a bounded queue, so that a reader never waits for the broker."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from exchanges.wire import pack, unpack
from livermore.core.errors import Transient
from livermore.core.frame import FrameBatch
from livermore.logs import event

log = logging.getLogger(__name__)

MAX_QUEUED_BYTES = 128 * 1024 * 1024
PACKED_FROM = 64
"""Behind so many batches one waits packed: some ten minutes of 2,000 frames a second then take 21 MB, not 307."""
TRIES = 5
"""An error that nobody foresaw may pass too; after so many tries the batch is at fault, not the broker."""
BACKOFF_BASE_S = 0.25
BACKOFF_CAP_S = 5.0


class Outbox:
    """One thread that publishes batches in order and keeps them while the broker is away.

    In a long queue batches wait compressed. When more than `max_bytes` wait, the oldest batch is dropped and
    handed to `shed`, which must record the loss; so is a batch that cannot be published at all.
    """

    def __init__(
        self,
        publish: Callable[[FrameBatch], None],
        shed: Callable[[FrameBatch], None],
        *,
        max_bytes: int = MAX_QUEUED_BYTES,
    ) -> None:
        self._publish, self._shed, self._max_bytes = publish, shed, max_bytes
        self._waiting: deque[_Waiting] = deque()
        self._in_hand: _Waiting | None = None  # being published: it is not shed
        self._bytes = 0
        self._changed = threading.Condition()
        self._give_up_at: float | None = None
        self._surprises = 0
        self.published = 0
        self.failures = 0
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)

    def __len__(self) -> int:
        """Batches that have not been published."""
        return len(self._waiting) + (self._in_hand is not None)

    def start(self) -> None:
        """Begin to publish."""
        self._thread.start()

    def put(self, batch: FrameBatch) -> None:
        """Take a batch; returns at once."""
        dropped = []
        with self._changed:
            waiting = _Waiting(batch, is_packed=len(self._waiting) >= PACKED_FROM)
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
        """Publish what waits, trying again until time is up, and end. True when nothing is left."""
        with self._changed:
            self._give_up_at = time.monotonic() + timeout_s
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return len(self) == 0

    # ---- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        while (batch := self._next()) is not None:
            self._surprises = tries = 0
            while not self._is_done_with(batch):
                tries += 1
                if self._has_given_up(tries):
                    return

    def _next(self) -> FrameBatch | None:
        """The oldest batch, waited for; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._give_up_at is not None)
            self._in_hand = self._waiting.popleft() if self._waiting else None
            return self._in_hand.batch() if self._in_hand is not None else None

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
            self.published += 1
        with self._changed:
            if self._in_hand is not None:
                self._bytes -= self._in_hand.bytes
            self._in_hand = None
        return True

    def _has_given_up(self, tries: int) -> bool:
        """Waits a moment before the next try; more batches do not shorten it, the end does."""
        ceiling_s = min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2 ** min(tries, 10))
        delay_s = random.uniform(ceiling_s / 2, ceiling_s)  # noqa: S311 (jitter, not a secret)
        with self._changed:
            was_ending = self._give_up_at is not None
            self._changed.wait_for(lambda: not was_ending and self._give_up_at is not None, delay_s)
            return self._give_up_at is not None and time.monotonic() >= self._give_up_at


class _Waiting:
    """A batch in the queue, as it is or compressed; `bytes` is what its frames take."""

    __slots__ = ("_held", "bytes")

    def __init__(self, batch: FrameBatch, *, is_packed: bool) -> None:
        self._held: FrameBatch | dict[str, Any] = batch
        self.bytes = sum(map(len, batch.frames))
        if is_packed:
            self._held = pack(batch)
            # The compressor's own buffer was cut to size in place, which leaves holes that nothing fits into.
            self._held["frames"] = memoryview(self._held["frames"]).tobytes()
            self.bytes = len(self._held["frames"])

    def batch(self) -> FrameBatch:
        """As it was put."""
        return self._held if isinstance(self._held, FrameBatch) else unpack(self._held)
