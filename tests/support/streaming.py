"""The socket engine against a simulated venue: what it published and reported, beside what was traded."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from exchanges import registry
from exchanges.silence import PATIENCE_S
from exchanges.stream import Stream
from exchanges.venue import Endpoint, Limits
from livermore.core.frame import FrameBatch
from livermore.core.gap import Cause, Gap
from livermore.core.symbol import SymbolBook
from tests.support.budgets import OpenBudget
from tests.support.simulation import Running
from tests.support.waiting import until

_NONSENSE_ID = 1
LIMITS = {"topics_per_connection": 100, "messages_per_second": 5.0, "connection_lifetime_s": None, "silence_s": 5.0}


class Streamed:
    """A stream of one simulated venue, by default of all its listings.

    `batches` and `gaps` grow as the stream publishes and reports. `broker` may be set to a function that is
    called first with every batch and may raise. `patience_s` scales all that follows from a symbol's silence.
    """

    def __init__(self, sim: Running, slug: str, natives: Collection[str] | None = None, **limits: Any) -> None:
        self.sim, self.slug = sim, slug
        patience_s = limits.pop("patience_s", PATIENCE_S)
        listings = [x for x in sim.simulation.market.listings if x.venue == slug]
        self.all_names = {x.native: x.symbol for x in listings}
        self.natives = list(self.all_names if natives is None else natives)
        self.batches: list[FrameBatch] = []
        self.gaps: list[Gap] = []
        self.broker: Any = None
        self._ids: dict[str, set[int]] = {}
        self._read = 0
        self.venue = registry.venue(slug)
        self.stream = Stream(
            self.venue,
            self.venue.rest(Endpoint(**sim.endpoints[slug]), OpenBudget()),
            Limits(**LIMITS | limits),
            self.natives,
            connects=OpenBudget(),
            epoch=1,
            publish=self._publish,
            report=self.gaps.append,
            names=self._names(self.natives),
            patience_s=patience_s,
        )

    def _publish(self, batch: FrameBatch) -> None:
        if self.broker is not None:
            self.broker(batch)
        self.batches.append(batch)

    def _names(self, natives: Collection[str]) -> dict[str, str]:
        return {n: self.all_names.get(n, f"{n}-NONE") for n in natives}

    # ---- doing -----------------------------------------------------------------------------------

    def follow(self, natives: Collection[str]) -> None:
        self.natives = list(natives)
        self.stream.follow(self.natives, self._names(natives))

    def burst(self, count: int) -> None:
        """That many prints now."""
        self.sim.call(self.sim.simulation.burst, count, venues=[self.slug])

    # ---- seeing ----------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        return self.stream.snapshot().state

    def until_state(self, *states: str, within_s: float = 10.0) -> None:
        until(lambda: self.state in states, within_s=within_s)

    def ids(self) -> dict[str, set[int]]:
        """The trade ids published so far, by native symbol; without those of the simulator's broken frames."""
        batches = list(self.batches)
        book = SymbolBook(self.slug, {n: n for n in self.all_names}, 1)
        for batch in batches[self._read :]:
            for trade in self.venue.mapper(batch.frames, book).trades:
                if int(trade.id) > _NONSENSE_ID:
                    new = range(int(trade.id), int(trade.id) + trade.executions)
                    self._ids.setdefault(trade.symbol, set()).update(new)
        self._read = len(batches)
        return self._ids

    def newest(self) -> dict[str, int]:
        """The newest trade id that the market holds of each followed symbol."""

        def look() -> dict[str, int]:
            tapes = {n: self.sim.simulation.market.tape(self.slug, n) for n in self.natives if n in self.all_names}
            return {n: tape.next_id - 1 for n, tape in tapes.items()}

        return self.sim.call(look)

    def until_caught_up(self, within_s: float = 10.0) -> None:
        """Wait until everything traded before this call has been published (or its symbol never traded here)."""
        marks = self.newest()

        def is_there() -> bool:
            ids = self.ids()
            return all(max(ids[n]) >= mark for n, mark in marks.items() if n in ids) and bool(ids)

        until(is_there, within_s=within_s)

    def missing(self) -> list[tuple[str, int, int]]:
        """(native, id, time in ns) of trades between the first and the last published that are not there."""
        found = []
        for native, ids in self.ids().items():
            for number in sorted(set(range(min(ids), max(ids) + 1)) - ids):
                found.append((native, number, self.traded_ns(native, number)))
        return found

    def traded_ns(self, native: str, number: int) -> int:
        """When the market made this trade."""

        def look() -> int:
            tape = self.sim.simulation.market.tape(self.slug, native)
            return tape.prints[tape.at_trade(number)].time_us * 1000

        return self.sim.call(look)

    def gaps_of(self, cause: Cause) -> list[Gap]:
        return [gap for gap in list(self.gaps) if gap.cause is cause]

    def is_covered(self, native: str, time_ns: int) -> bool:
        """Does a reported gap (other than the first) confess this trade?"""
        name = self.all_names[native]
        return any(
            name in g.symbols and g.from_ns <= time_ns < g.to_ns for g in list(self.gaps) if g.cause is not Cause.START
        )

    def subscribed(self) -> dict[int, set[str]]:
        """At the venue: each open connection (by identity) with its topics."""

        def look() -> dict[int, set[str]]:
            stage = self.sim.simulation.servers[self.slug].stage
            return {id(c): set(_topics(c.notes)) for c in stage.connections if c.notes is not None}

        return self.sim.call(look)

    def numbers(self) -> dict[str, list[int]]:
        """Batch numbers of each connection in the order published."""
        found: dict[str, list[int]] = {}
        for batch in list(self.batches):
            found.setdefault(batch.connection, []).append(batch.number)
        return found


def _topics(notes: Any) -> Collection[str]:
    if hasattr(notes, "streams"):
        return notes.streams
    return notes.channels.get("market_trades", {})


@contextmanager
def streamed(sim: Running, slug: str, natives: Collection[str] | None = None, **limits: Any) -> Iterator[Streamed]:
    """Starts a stream and stops it at the end, after which no thread of it may be left."""
    made = Streamed(sim, slug, natives, **limits)
    made.stream.start()
    try:
        yield made
    finally:
        made.stream.stop(5.0)
    watchers = [made.stream._vigil._thread, made.stream._clock._thread]
    own = [made.stream._thread, made.stream._outbox._thread, *watchers]
    names = {f"{slug}-{name}" for slot in made.stream._slots for name in slot.ids}
    until(lambda: not [t for t in threading.enumerate() if t in own or t.name in names], within_s=5)
