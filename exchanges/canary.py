"""A stream that also sends a canary: a batch without frames, which travels like any other and shows what stands still.

Every station on its way stamps when it passed (`candles.services.canary`), and `/health/ready` reads the stamps.
"""

from __future__ import annotations

import logging
import threading
import time
from itertools import count
from typing import Any

from exchanges.stream import Stream
from livermore.core.frame import CANARY, FrameBatch

log = logging.getLogger(__name__)


class CanaryStream(Stream):
    """Sends one every `canary_every_s` for as long as it runs and is not paused; the arguments are else `Stream`'s."""

    def __init__(self, *positional: Any, canary_every_s: float, **named: Any) -> None:
        super().__init__(*positional, **named)
        self._epoch, self._every_s, self._numbers = named["epoch"], canary_every_s, count()
        self._is_over = threading.Event()
        self._flight = threading.Thread(target=self._fly, name=f"{self._venue.slug}-canary", daemon=True)

    def start(self) -> None:
        """Connect and keep connected."""
        super().start()
        self._flight.start()

    def stop(self, timeout_s: float) -> bool:
        """Close every socket with 1000, publish what is left. True when nothing was left behind."""
        self._is_over.set()
        return super().stop(timeout_s)

    def _fly(self) -> None:
        while not self._is_over.is_set():
            if not self._is_paused:
                sent = ((1, time.time_ns()),)
                self._outbox.put(FrameBatch(self._venue.slug, CANARY, next(self._numbers), self._epoch, (), sent))
            self._is_over.wait(self._every_s)

    def _shed(self, batch: FrameBatch) -> None:
        if batch.frames:  # a canary holds nothing that could be missed
            super()._shed(batch)
