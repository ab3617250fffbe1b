"""Between the sockets and the broker: a bounded queue, so that a reader never waits for the broker."""

from __future__ import annotations

import logging
import random
import threading
from collections import deque
from collections.abc import Callable

from livermore.core.errors import Transient
from livermore.core.frame import FrameBatch
from livermore.logs import event

log = logging.getLogger(__name__)

MAX_QUEUED_BYTES = 256 * 1024 * 1024


class Outbox:
    """One thread that publishes batches in order and keeps them while the broker is away.

    When more than `max_bytes` wait, the oldest batch is dropped and handed to `shed`, which must record
    the loss.
    """

    def __init__(
        self,
        publish: Callable[[FrameBatch], None],
        shed: Callable[[FrameBatch], None],
        *,
        max_bytes: int = MAX_QUEUED_BYTES,
    ) -> None:
        self._publish, self._shed, self._max_bytes = publish, shed, max_bytes
        self._waiting: deque[FrameBatch] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._is_stopping = False
        self.published = 0
        self.failures = 0
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)

    def __len__(self) -> int:
        return len(self._waiting)

    def start(self) -> None:
        """Begin to publish."""
        self._thread.start()

    def put(self, batch: FrameBatch) -> None:
        """Take a batch; returns at once."""
        dropped = []
        with self._changed:
            self._waiting.append(batch)
            self._bytes += _size(batch)
            while self._bytes > self._max_bytes and len(self._waiting) > 1:
                oldest = self._waiting.popleft()
                self._bytes -= _size(oldest)
                dropped.append(oldest)
            self._changed.notify()
        for lost in dropped:
            self._shed(lost)

    def drain(self, timeout_s: float) -> bool:
        """Stop taking; publish what waits. True when nothing is left."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify()
        self._thread.join(timeout_s)
        return not self._waiting

    def _run(self) -> None:
        delay_s = 0.0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_stopping)
                if not self._waiting:
                    return
                if delay_s:
                    self._changed.wait(random.uniform(delay_s / 2, delay_s))  # noqa: S311 (jitter, not a secret)
                batch = self._waiting.popleft()
                self._bytes -= _size(batch)
            try:
                self._publish(batch)
            except Transient as error:
                self.failures += 1
                delay_s = min(5.0, delay_s * 2 or 0.25)
                event(log, "outbox.waiting", logging.WARNING, batch=batch.id, waiting=len(self) + 1, error=error)
                with self._changed:
                    self._waiting.appendleft(batch)
                    self._bytes += _size(batch)
                    if self._is_stopping:
                        return
            else:
                delay_s = 0.0
                self.published += 1


def _size(batch: FrameBatch) -> int:
    return sum(map(len, batch.frames))
