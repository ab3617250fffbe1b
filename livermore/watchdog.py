"""Replaces workers that take nothing although something waits for them; `up` asks it every few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from livermore import processes, queues
from livermore.core.errors import StoreUnavailable
from livermore.progress import Watch
from livermore.supervisor import Supervisor

LOOK_EVERY_S = 5.0
GRACE_S = 60.0
"""A worker needs so long to start on a busy machine."""


class Watchdog:
    """Watches the workers that run as children; `say` shows a person one line."""

    def __init__(self, children: Supervisor, slugs: Sequence[str], say: Callable[[str], None]) -> None:
        self._children, self._say = children, say
        self._watches = {
            processes.worker_role(name): Watch(processes.queues(kind, slugs), kind.stuck_after_s)
            for name, kind in processes.WORKERS.items()
        }
        self._names = sorted({name for watch in self._watches.values() for name in watch.queues})
        self._looked_s = 0.0

    def look(self) -> list[str]:
        """Kill the workers that stand still, which their supervisor starts again; returns their names.

        Does nothing when it looked within `LOOK_EVERY_S`, and nothing while the broker does not answer.
        """
        now_s = time.monotonic()
        if now_s - self._looked_s < LOOK_EVERY_S:
            return []
        self._looked_s = now_s
        try:
            waiting = {one.queue: one for one in queues.look(self._names)}
        except StoreUnavailable:
            return []
        return [role for role in self._watches if self._is_replaced(role, waiting, now_s)]

    def _is_replaced(self, role: str, waiting: dict[str, queues.Waiting], now_s: float) -> bool:
        watch = self._watches[role]
        if self._children.age_s(role) < GRACE_S:
            watch.forget()
            return False
        if watch.see(waiting, now_s):
            return False
        depth = sum(waiting[name].depth for name in watch.queues if name in waiting)
        self._say(f"{role} has taken nothing for {watch.stuck_after_s:.0f} s although {depth} messages wait; replaced")
        self._children.kill(role)
        watch.forget()
        return True
