"""Beat under a lease: any number of them may run, one sends, and the next goes on where that one ended.

The lease is that of the stream hosts (`exchanges.lease`): it runs out 30 s after its holder's last sign of life, and at
once where the kernel knows on this machine that the holder is dead. What was sent when stands in Redis before it is
sent, because the scheduler's own notes reach the database minutes later only: no slot is sent twice.
"""

from __future__ import annotations

import logging
import os
import platform
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from django_celery_beat.schedulers import DatabaseScheduler

from exchanges import lease
from exchanges.lease import Lease, LeaseHeld
from exchanges.lifeline import Lifeline
from exchanges.state import state_redis, unavailable
from livermore.core import keys
from livermore.core.errors import StoreUnavailable
from livermore.logs import event

log = logging.getLogger(__name__)

NAME = "beat"
ASK_EVERY_S = 1.0
HELD_FOR_S = lease.TTL_MS / 1000 - 5.0
"""So long after its last renewal, by our clock, the lease is still surely ours."""


class LeasedScheduler(DatabaseScheduler):  # type: ignore[misc]
    """The schedules of the database, sent by whoever holds the lease `beat`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._owner = lease.new_owner(f"{NAME}-{os.getpid()}@{platform.node()}")
        self._lease: Lease | None = None
        self._renewed_s = 0.0
        self._lifeline = Lifeline(self._owner)
        super().__init__(*args, **kwargs)

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send what is due, when the lease is ours; returns after how many seconds to ask again."""
        if not self._holds():
            return ASK_EVERY_S
        try:
            return min(float(super().tick(*args, **kwargs)), ASK_EVERY_S)
        except StoreUnavailable:
            self._heap = None  # the slot that could not be noted is in no heap any more
            return ASK_EVERY_S

    def reserve(self, entry: Any) -> Any:
        """Note that a slot is taken, before it is sent."""
        with unavailable():
            state_redis().hset(keys.schedules_ran(), entry.name, time.time_ns() // 1_000_000)
        return super().reserve(entry)

    def all_as_schedule(self) -> dict[str, Any]:
        """The rows, each with when it was last sent by whomever."""
        found: dict[str, Any] = super().all_as_schedule()
        try:
            with unavailable():
                ran = state_redis().hgetall(keys.schedules_ran())
        except StoreUnavailable:
            return found
        for name, entry in found.items():
            sent = datetime.fromtimestamp(int(ran.get(name.encode(), 0)) / 1000, UTC)
            if sent > entry.last_run_at:
                entry.last_run_at = entry.model.last_run_at = sent
        return found

    def close(self) -> None:
        """Let the next one begin at once."""
        super().close()
        if self._lease is not None:
            with suppress(StoreUnavailable):  # then it runs out
                lease.release(self._lease)
        self._lifeline.let_go()

    def _holds(self) -> bool:
        now_s = time.monotonic()
        if self._lease is not None and now_s - self._renewed_s < lease.RENEW_EVERY_S:
            return True
        try:
            if self._lease is None:
                self._acquire()
            elif not lease.renew(self._lease):
                event(log, "beat.lost", logging.WARNING, owner=self._owner)
                self._lease = None
                return False
            self._lifeline.touch()
            self._renewed_s = now_s
        except LeaseHeld:
            return False
        except StoreUnavailable:
            return self._lease is not None and now_s - self._renewed_s < HELD_FOR_S
        return True

    def _acquire(self) -> None:
        self._lifeline.hold()
        self._lease = lease.acquire(NAME, self._owner)
        event(log, "beat.began", owner=self._owner, epoch=self._lease.epoch)
        # What was read before may be old by now.
        self._initial_read, self._heap = True, None
