"""A stream engine that does what a test tells it, and remembers what it was told."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from dataclasses import replace

from exchanges.snapshot import StreamSnapshot

_FRAME_NS = 2_000_000_000_000_000_000


class ScriptedStream:
    """Streams at once unless `state` says otherwise; `calls` lists what its host did to it."""

    def __init__(self, names: Mapping[str, str], epoch: int = 1, state: str = "streaming", reason: str = "") -> None:
        self.names, self.epoch = dict(names), epoch
        self.calls: list[str] = []
        self.is_drained = True
        self._state, self._reason = state, reason
        self._changed = threading.Lock()

    def become(self, state: str, reason: str = "") -> None:
        """From now on the snapshot says so."""
        with self._changed:
            self._state, self._reason = state, reason

    def start(self) -> None:
        self.calls.append("start")

    def follow(self, natives: Collection[str], names: Mapping[str, str]) -> None:
        assert set(natives) == set(names)
        self.names = dict(names)
        self.calls.append("follow")

    def roll(self) -> None:
        self.calls.append("roll")

    def pause(self) -> None:
        self.calls.append("pause")
        self.become("paused")

    def resume(self) -> None:
        self.calls.append("resume")
        self.become("streaming")

    def stop(self, timeout_s: float) -> bool:
        self.calls.append("stop")
        return self.is_drained

    def snapshot(self) -> StreamSnapshot:
        with self._changed:
            seen = StreamSnapshot(state=self._state, reason=self._reason, wanted=len(self.names))
        if seen.state != "streaming":
            return seen
        count = len(self.names)
        return replace(seen, sockets=1, acked=count, receiving=count, frames=10, last_frame_ns=_FRAME_NS)
