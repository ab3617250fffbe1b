"""What a connection is to carry, what its venue was told and refused, which answers are awaited; pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from exchanges.venue import NOTHING, Event, Limits, Ready, Refused
from livermore.core.errors import LocalProtocolError, RemoteProtocolError
from livermore.core.trade import Nanos


class Subscriptions:
    """The difference between the natives wanted and those the venue was told of: what is left to say.

    A session holds one, and must say at once what `drop`, `add` and `tell` note as said. A refused native
    is asked for again only after it was not wanted for a while. `wanted` and `told` are for reading.
    """

    __slots__ = ("_has_changed", "_is_ready", "_most", "_refused", "_suspects", "told", "wanted")

    def __init__(self, limits: Limits, natives: Collection[str]) -> None:
        self._most = limits.topics_per_connection
        self.wanted: dict[str, None] = {}
        self.told: dict[str, None] = {}
        self._refused: set[str] = set()
        self._suspects: deque[tuple[str, ...]] = deque()
        self._is_ready = False
        self.want(natives)

    def want(self, natives: Collection[str]) -> None:
        """Makes `natives` what is wanted; `LocalProtocolError` for more than a connection carries."""
        if len(natives) > self._most:
            raise LocalProtocolError(f"{len(natives)} symbols on a connection for {self._most}")
        self._refused.intersection_update(natives)
        self.wanted = dict.fromkeys(n for n in natives if n not in self._refused)
        self._has_changed = True  # spares the search at every tick

    def drop(self, most: int | None = None) -> tuple[str, ...]:
        """Up to `most` natives to unsubscribe from now: told, and no longer wanted."""
        if not self._has_changed:
            return ()
        gone = tuple(n for n in self.told if n not in self.wanted)[:most]
        self.forget(gone)
        return gone

    def add(self, most: int) -> tuple[str, ...]:
        """Up to `most` natives to subscribe to now: a group under suspicion, else any that are missing."""
        added = self._next_suspects() or self.missing()[:most]
        self.tell(added)
        return added

    def missing(self) -> tuple[str, ...]:
        """The natives that are wanted and not told."""
        if not self._has_changed:
            return ()
        found = tuple(n for n in self.wanted if n not in self.told)
        self._has_changed = bool(found) or not self.told.keys() <= self.wanted.keys()
        return found

    def tell(self, natives: Iterable[str]) -> None:
        """The venue is being told of `natives`."""
        self.told.update(dict.fromkeys(natives))

    def forget(self, natives: Iterable[str]) -> None:
        """As if the venue had never been told of `natives`: what of them is wanted is missing again."""
        for native in natives:
            self.told.pop(native, None)
        self._has_changed = True

    def doubt(self, natives: tuple[str, ...], why: str) -> Sequence[Event]:
        """The venue refused them together: halves are asked for until the one at fault is alone."""
        if len(natives) == 1:
            return self.refuse(natives, why)
        self.forget(natives)
        half = len(natives) // 2
        self._suspects.extendleft((natives[half:], natives[:half]))
        return NOTHING

    def refuse(self, natives: Collection[str], why: str) -> Sequence[Event]:
        """The venue will not serve any of `natives`; nothing follows from none."""
        for native in natives:
            self.told.pop(native, None)
            self.wanted.pop(native, None)
        self._refused.update(natives)
        return [Refused(tuple(natives), why)] if natives else NOTHING

    def readiness(self, *, is_waiting: bool) -> Sequence[Event]:
        """`Ready` once, when all wanted is told and no answer is waited for; never when all was refused."""
        if self._is_ready or is_waiting or not self.wanted.keys() <= self.told.keys():
            return NOTHING
        if self._refused and not self.wanted:
            return NOTHING
        self._is_ready = True
        return [Ready()]

    def _next_suspects(self) -> tuple[str, ...]:
        while self._suspects:
            group = self._suspects.popleft()
            if still := tuple(n for n in group if n in self.wanted and n not in self.told):
                return still
        return ()


@dataclass(frozen=True, slots=True)
class Request:
    """What a numbered message asked, of which natives, and when."""

    verb: str
    natives: tuple[str, ...]
    sent_ns: int


class Requests:
    """Numbers a connection's messages from 1 and keeps those about natives until they are answered."""

    __slots__ = ("_last", "_open")

    def __init__(self) -> None:
        self._last = 0
        self._open: dict[int, Request] = {}

    def ask(self, verb: str, natives: tuple[str, ...], now: Nanos) -> int:
        """The number of the message sent now."""
        self._last += 1
        if natives:
            self._open[self._last] = Request(verb, natives, now)
        return self._last

    def answered(self, number: int) -> Request | None:
        """What the answer is about; None when it needs none or was answered before.

        Raises `RemoteProtocolError` for a number that was never given.
        """
        if not 0 < number <= self._last:
            raise RemoteProtocolError(f"an answer to a question never asked: id {number}")
        return self._open.pop(number, None)

    def oldest(self) -> int | None:
        """The number of the request that waits longest."""
        return next(iter(self._open), None)

    def is_open(self, verb: str) -> bool:
        """Whether any request of this kind waits for its answer."""
        return any(r.verb == verb for r in self._open.values())

    def is_overdue(self, now: Nanos, within_ns: int) -> bool:
        """Whether an answer is missing for `within_ns` or longer."""
        return any(now - r.sent_ns >= within_ns for r in self._open.values())
