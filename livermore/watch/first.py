"""Who moved first: moves that several exchanges made, found in per-second prices, and counts of who led whom."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from math import log
from typing import Any

MOVE_BPS = 20.0
MOVE_WITHIN_MS = 60_000
QUIET_MS = 30_000
"""A move begins when none has been under way for so long: one long trend is one move."""
FOLLOWED_WITHIN_MS = 30_000
ENOUGH = 10
"""Of fewer moves no share is told: it would say nothing."""


@dataclass(frozen=True, slots=True)
class Point:
    """The last price of a second, traded in `[from_ms, at_ms]`: whatever it crossed, it crossed in between.

    Times are by our clock, in ms UTC.
    """

    from_ms: int
    at_ms: int
    price: float


@dataclass(frozen=True, slots=True)
class Move:
    """A move of at least `MOVE_BPS` within a minute that several exchanges made.

    `reached` tells for each exchange in which interval (ms UTC) it had moved so far, by its own clock put right.
    `age_ms` is what its trades usually took to reach us then, `uncertainty_ms` how well its clock is known; None
    where that is not known.
    """

    at_ms: int
    is_up: bool
    reached: Mapping[str, tuple[int, int]]
    age_ms: Mapping[str, float | None] = field(default_factory=dict)
    uncertainty_ms: Mapping[str, float | None] = field(default_factory=dict)

    def public(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "at_ms": self.at_ms,
            "is_up": self.is_up,
            "reached": {exchange: list(interval) for exchange, interval in self.reached.items()},
            "age_ms": dict(self.age_ms),
            "uncertainty_ms": dict(self.uncertainty_ms),
        }

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Move:
        """What `public` gave."""
        reached = {exchange: (low, high) for exchange, (low, high) in told["reached"].items()}
        return cls(told["at_ms"], told["is_up"], reached, told["age_ms"], told["uncertainty_ms"])


@dataclass(frozen=True, slots=True)
class Lead:
    """Of `moves` that both made, how often the one was first, the other was, and neither can be told to have been."""

    first: int
    behind: int
    ties: int

    @property
    def moves(self) -> int:
        """How many there were."""
        return self.first + self.behind + self.ties

    @property
    def share(self) -> float | None:
        """The share in which it was first; None for too few."""
        return self.first / self.moves if self.moves >= ENOUGH else None


def moves(tracks: Mapping[str, Sequence[Point]], since_ms: int, until_ms: int) -> list[Move]:
    """The moves that began in `[since_ms, until_ms)`; points must reach from two minutes before to half a minute
    after that, each track in the order of time. Only what two exchanges made is a move."""
    beyond = sorted(_beyond(tracks))
    found, last_ms = [], -QUIET_MS
    for at_ms, _, is_up, _ in beyond:
        if at_ms - last_ms >= QUIET_MS and since_ms <= at_ms < until_ms:
            reached: dict[str, tuple[int, int]] = {}
            for other_ms, exchange, is_others_up, from_ms in beyond:
                if at_ms <= other_ms <= at_ms + FOLLOWED_WITHIN_MS and is_others_up == is_up:
                    reached.setdefault(exchange, (from_ms, other_ms))
            if len(reached) > 1:
                found.append(Move(at_ms, is_up, reached))
        last_ms = at_ms
    return found


def _beyond(tracks: Mapping[str, Sequence[Point]]) -> Iterator[tuple[int, str, bool, int]]:
    """Every point that lies `MOVE_BPS` or more from the price of a minute before."""
    for exchange, points in tracks.items():
        times = [point.at_ms for point in points]
        for point in points:
            base = bisect_right(times, point.at_ms - MOVE_WITHIN_MS) - 1
            if base < 0:
                continue
            bps = 1e4 * log(point.price / points[base].price)
            if abs(bps) >= MOVE_BPS:
                yield point.at_ms, exchange, bps > 0, point.from_ms


def leads(found: Iterable[Move], *, by_arrival: bool) -> dict[tuple[str, str], Lead]:
    """For each ordered pair of exchanges who led, by arrival here or by their own clocks.

    A lead that the clocks, or the second that a price stands for, leave in doubt is a tie. By arrival, a move of an
    exchange whose age is unknown says nothing.
    """
    counted: Counter[tuple[str, str, int]] = Counter()
    for move in found:
        spans = _spans(move, by_arrival=by_arrival)
        for one, other in permutations(spans, 2):
            counted[one, other, _order(spans[one], spans[other])] += 1
    pairs = sorted({(one, other) for one, other, _ in counted})
    return {(a, b): Lead(counted[a, b, -1], counted[a, b, 1], counted[a, b, 0]) for a, b in pairs}


def firsts(found: Iterable[Move], *, by_arrival: bool) -> dict[str, Lead]:
    """For each exchange: in how many of the moves it made it was before all others, behind any, or neither."""
    counted: Counter[tuple[str, int]] = Counter()
    for move in found:
        spans = _spans(move, by_arrival=by_arrival)
        for one in spans if len(spans) > 1 else ():
            orders = {_order(spans[one], spans[other]) for other in spans if other != one}
            counted[one, 1 if 1 in orders else 0 if 0 in orders else -1] += 1
    return {one: Lead(counted[one, -1], counted[one, 1], counted[one, 0]) for one in sorted({e for e, _ in counted})}


def _spans(move: Move, *, by_arrival: bool) -> dict[str, tuple[float, float]]:
    """In which interval each exchange can have been there: told by its own clock, or heard by us."""
    spans = {}
    for exchange, (from_ms, to_ms) in move.reached.items():
        age, doubt = move.age_ms.get(exchange), move.uncertainty_ms.get(exchange)
        if not by_arrival:
            doubt = float("inf") if doubt is None else doubt
            spans[exchange] = (from_ms - doubt, to_ms + doubt)
        elif age is not None:
            # What the venue's clock is wrong by, the age is wrong by, too: together they are our own clock's time.
            spans[exchange] = (from_ms + age, to_ms + age)
    return spans


def _order(one: tuple[float, float], other: tuple[float, float]) -> int:
    """-1: surely before; 1: surely behind; 0: a tie."""
    return -1 if one[1] < other[0] else 1 if other[1] < one[0] else 0
