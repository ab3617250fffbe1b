"""The running stream of one exchange: built from a plan, followed to new symbols, replaced when limits change."""

from __future__ import annotations

import time
from collections.abc import Mapping

from exchanges.lifecycle import State
from exchanges.running import Plan, Streaming, Wiring
from exchanges.snapshot import StreamSnapshot
from livermore.core.errors import Transient

REPLACE_WITHIN_S = 30.0
STOP_S = 8.0


class Engine:
    """Starts at once; belongs to one thread, but for `snapshot`. `names` are native → canonical.

    Raises what building the stream raises.

    `first_tick_ms` is how long after its start market data came, None before.
    """

    def __init__(self, wiring: Wiring, plan: Plan, names: Mapping[str, str], epoch: int) -> None:
        self._wiring, self._epoch = wiring, epoch
        self.plan, self.names = plan, dict(names)
        self._newcomers: set[str] = set()  # streamed from now on, and nobody knows it yet
        self._successor: Streaming | None = None
        self._replace_by = 0.0
        self._started_ns = time.time_ns()
        self.first_tick_ms: int | None = None
        self._stream = self._build(plan)

    def refresh(self, plan: Plan, names: Mapping[str, str]) -> None:
        """Follow the row: other symbols are followed in place, other limits or addresses need a new stream.

        Symbols that were not streamed before are told to `Wiring.started`, as the first ones are.
        """
        self._newcomers |= set(names.values()) - set(self.names.values())
        if (plan.limits, plan.endpoint) != (self.plan.limits, self.plan.endpoint):
            self.names = dict(names)
            self._replace(plan)
        elif dict(names) != self.names:
            self.names = dict(names)
            for stream in self._streams():
                stream.follow(list(names), names)
        self.plan = plan
        self._announce()

    def tend(self) -> None:
        """Put the successor in place when it streams or took too long; may take some seconds."""
        if self._successor is not None:
            is_ready = self._successor.snapshot().state == State.STREAMING
            if is_ready or time.monotonic() > self._replace_by:
                self._promote()

    def snapshot(self) -> StreamSnapshot:
        """What the stream does; any thread may ask."""
        seen = self._stream.snapshot()
        if self.first_tick_ms is None and seen.frames:
            self.first_tick_ms = max(0, (seen.last_frame_ns - self._started_ns) // 1_000_000)
        return seen

    def roll(self) -> None:
        """Replace every connection."""
        self._promote()
        self._stream.roll()

    def pause(self) -> None:
        """Close the sockets."""
        self._promote()
        self._stream.pause()

    def resume(self) -> None:
        """Open them again."""
        self._stream.resume()

    def stop(self) -> bool:
        """Close everything; False when something could not be published in time."""
        are_drained = [stream.stop(STOP_S) for stream in self._streams()]
        return all(are_drained)

    def _announce(self) -> None:
        if self._newcomers:
            try:
                self._wiring.started(self.plan.slug, tuple(sorted(self._newcomers)))
            except Transient:
                return  # told with the next refresh
            self._newcomers.clear()

    def _build(self, plan: Plan) -> Streaming:
        stream = self._wiring.stream(plan, self.names, self._epoch)
        stream.start()
        return stream

    def _replace(self, plan: Plan) -> None:
        """Make before break where duplicates are harmless, else break before make."""
        self._promote()
        if plan.may_overlap:
            self._successor = self._build(plan)
            self._replace_by = time.monotonic() + REPLACE_WITHIN_S
        else:
            self._stream.stop(STOP_S)
            self._stream = self._build(plan)

    def _promote(self) -> None:
        if self._successor is not None:
            old, self._stream, self._successor = self._stream, self._successor, None
            old.stop(STOP_S)

    def _streams(self) -> list[Streaming]:
        return [self._stream] + ([self._successor] if self._successor is not None else [])
