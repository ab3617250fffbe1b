"""How far a venue's clock is ahead of ours, and how well that is known: the estimate, and the thread that keeps it.

Whoever asks for the time learns that the venue's answer was given between sending and receiving, no more. Taking the
middle errs by half the round trip at most, and by what the venue cuts off its answer.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import gcd

from exchanges.crashes import Crashes
from exchanges.venue import Rest
from livermore.core.errors import LivermoreError
from livermore.logs import event

log = logging.getLogger(__name__)

EVERY_S = 60.0
CALLS = 4
"""So many questions at once; the first may have to connect, and the quickest of them counts."""
KNOWN_FOR_MS = 600_000
"""An older estimate says too little of the clock now to decide by it."""
COARSEST_MS = 1_000


@dataclass(frozen=True, slots=True)
class Call:
    """One question for the venue's time: when it was sent (ns UTC, our clock), how long the answer took (ns), and
    what it told (ms UTC)."""

    sent_ns: int
    took_ns: int
    told_ms: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """The venue's clock was `offset_ms` ahead of ours, give or take `uncertainty_ms`, at `measured_ms` UTC of ours."""

    offset_ms: float
    uncertainty_ms: float
    measured_ms: int

    @property
    def proven_ms(self) -> float:
        """The offset, 0 where there may be none: most clocks are right, and one known badly would spoil good times."""
        return self.offset_ms if abs(self.offset_ms) > self.uncertainty_ms else 0.0


def resolution_ms(calls: Sequence[Call], known_ms: int = COARSEST_MS) -> int:
    """What the venue's answers are multiples of (ms), a second at most: it may tell whole seconds as milliseconds.

    `known_ms` is what follows from earlier answers.
    """
    return gcd(known_ms, *(call.told_ms for call in calls))


def estimate(calls: Sequence[Call], resolution: int) -> Estimate:
    """From the call with the least round trip; `resolution` in ms. Right within its uncertainty, however the round trip
    is made up of the way there and the way back."""
    best = min(calls, key=lambda call: call.took_ns)
    offset_ns = best.told_ms * 1_000_000 - best.sent_ns - best.took_ns // 2
    measured_ms = (best.sent_ns + best.took_ns) // 1_000_000
    return Estimate(offset_ns / 1e6, best.took_ns / 2e6 + resolution, measured_ms)


class VenueNow:
    """What time it is at a venue, for requests that bear it: its clock is asked once, when first needed."""

    def __init__(self, told_ms: Callable[[], int]) -> None:
        self._told_ms = told_ms

    @cached_property
    def offset_ms(self) -> int:
        """How far the venue is ahead of us; raises what asking raises."""
        return round(estimate([ask(self._told_ms)], 1).offset_ms)

    def ms(self) -> int:
        """Now there, ms UTC."""
        return time.time_ns() // 1_000_000 + self.offset_ms


def ask(told_ms: Callable[[], int]) -> Call:
    """One question for a venue's time."""
    # The length by the clock that nobody sets: ours may be put right in between.
    sent_ns, began_ns = time.time_ns(), time.monotonic_ns()
    told = told_ms()
    return Call(sent_ns, time.monotonic_ns() - began_ns, told)


class Timekeeper:
    """Measures at once and then every `every_s`, in a thread of its own.

    `may_ask` comes before every question: a venue that refused this host, or whose stream is paused, is left alone.
    `estimate` may be read from anywhere: the last one, however old, None before the first. A venue that does not
    answer costs nothing but that; bugs are told to `crashes`.
    """

    def __init__(
        self, slug: str, rest: Rest, may_ask: Callable[[], bool], crashes: Crashes, every_s: float = EVERY_S
    ) -> None:
        self._slug, self._rest, self._may_ask, self._crashes, self._every_s = slug, rest, may_ask, crashes, every_s
        self._resolution_ms = COARSEST_MS
        self._ending = threading.Event()
        self.estimate: Estimate | None = None
        self._thread = threading.Thread(target=self._run, name=f"{slug}-clock", daemon=True)

    def start(self) -> None:
        """Begin to measure."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """End; a question under way is waited for so long."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._ending.is_set():
            rest_s = self._every_s
            try:
                self._measure()
            except Exception as error:
                # The top of a loop that must live.
                log.exception("clock.failed")
                self._crashes.note(error)
                rest_s = max(rest_s, self._crashes.rest_s)
            self._ending.wait(rest_s)

    def _measure(self) -> None:
        calls: list[Call] = []
        try:
            while len(calls) < CALLS and self._may_ask() and not self._ending.is_set():
                calls.append(ask(self._rest.time_ms))
        except LivermoreError as error:
            # Asking again at once would only spend budget; what was told before is kept.
            event(log, "clock.untold", logging.WARNING, venue=self._slug, error=error)
        if calls:
            self._resolution_ms = resolution_ms(calls, self._resolution_ms)
            self.estimate = estimate(calls, self._resolution_ms)
