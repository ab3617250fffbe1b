"""When a symbol's silence is suspicious, and what to do when the venue did trade; pure: clock and verdicts are given.

    wanted → (its connection is ready) acked → (a trade came) receiving
                                         ↑ silent too long → asked → quiet: receiving, asked later and later
                                         └──────────────────────── → traded: subscribe again, then replace, then …
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

PATIENCE_S = 15.0
"""The shortest silence that is suspicious (requirement S2)."""

_SECOND = 1_000_000_000
_FACTOR, _PERCENTILE = 8, 99
_REMEMBERED = 100
_LONGEST = 40
_DOUBLINGS = 6


class Remedy(StrEnum):
    """What to do about symbols that the venue trades and does not send."""

    RESUBSCRIBE = "resubscribe"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class Stall:
    """What was found silent: `natives` with since when (ns, our clock) their trades are missing."""

    remedy: Remedy
    natives: Mapping[str, int]
    is_channel: bool


@dataclass(slots=True)
class _Topic:
    """One subscription; ns by our clock, but `traded_ns` (the venue's time of the newest trade heard).

    `since_ns` is None while nothing streams. Until `clear_ns` nothing was missed, `quiets` questions in a row said
    so; `remedies` counts those in a row that said otherwise. `missing_ns` is 0, or from when trades are missing.
    """

    since_ns: int | None
    heard_ns: int = 0
    traded_ns: int = 0
    next_ns: int = 0
    acted_ns: int = 0
    clear_ns: int = 0
    missing_ns: int = 0
    quiets: int = 0
    remedies: int = 0
    intervals: deque[int] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))

    def silent_since_ns(self) -> int:
        return max(self.heard_ns, self.clear_ns, self.since_ns or 0)

    def act(self, now_ns: int, remedies: int, next_ns: int) -> None:
        """A remedy was given: its trades are missing from now on, until one comes or the venue says otherwise."""
        self.remedies, self.quiets = remedies, 0
        self.missing_ns = self.acted_ns = now_ns
        self.next_ns = next_ns


class Silence:
    """Judges every symbol of a stream by its own past; belongs to one thread.

    Everything else follows from `patience_s`: the margin for two clocks is a third of it, a remedy is given
    two thirds of it, and no silence stays unasked for longer than 40 times of it.
    """

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_ns = int(patience_s * _SECOND)
        self._margin_ns = self._patience_ns // 3
        self._grace_ns = self._patience_ns // 15
        self._remedy_within_ns = 2 * self._patience_ns // 3
        self._longest_ns = _LONGEST * self._patience_ns
        self._topics: dict[str, _Topic] = {}

    def follow(self, streaming: Mapping[str, int | None], now_ns: int) -> None:
        """The symbols wanted, each with since when its connection streams (None: it does not)."""
        for native in self._topics.keys() - streaming.keys():
            del self._topics[native]
        for native, since_ns in streaming.items():
            topic = self._topics.get(native)
            if topic is None:
                self._topics[native] = _Topic(None if since_ns is None else now_ns)
            elif since_ns is None:
                topic.since_ns = None
            elif topic.since_ns is None:
                topic.since_ns, topic.next_ns, topic.quiets = max(since_ns, topic.acted_ns), 0, 0

    def heard(self, native: str, at_ns: int, traded_ns: int) -> None:
        """A trade came in, perhaps before its symbol is followed.

        What comes right after a remedy may be old: the venue's snapshot of past trades proves nothing.
        """
        topic = self._topics.setdefault(native, _Topic(None))
        if topic.heard_ns >= (topic.since_ns or 0) and at_ns > topic.heard_ns > 0 and not topic.missing_ns:
            topic.intervals.append(at_ns - topic.heard_ns)
        topic.heard_ns = max(topic.heard_ns, at_ns)
        topic.traded_ns = max(topic.traded_ns, traded_ns)
        topic.quiets = 0
        if not topic.missing_ns or at_ns > topic.acted_ns + self._margin_ns:
            topic.remedies = 0

    def limit_ns(self, native: str) -> int:
        """The silence from which a symbol is suspicious: eight times the 99th percentile of its pauses."""
        return self._limit_ns(self._topics[native])

    def overdue(self, now_ns: int) -> list[str]:
        """Whom to ask the venue about: what already misses trades, then the least asked and busiest first."""
        found = [
            (not topic.missing_ns, topic.quiets, _pause_ns(topic), native)
            for native, topic in self._topics.items()
            if self._is_overdue(topic, now_ns)
        ]
        return [native for *_, native in sorted(found)]

    def question(self, native: str, now_ns: int, attentive_ns: int) -> tuple[int, int] | None:
        """`[start, end)` in ms: did the venue trade then? None while that is too short to tell.

        `attentive_ns` is since when every frame has been looked at. A trade heard bears the venue's own time; all
        other marks are of our clock and need a margin.
        """
        topic = self._topics[native]
        start_ns = max(
            topic.traded_ns + self._grace_ns,
            topic.clear_ns,
            (topic.since_ns or 0) + self._margin_ns,
            topic.acted_ns + self._margin_ns,
            attentive_ns + self._grace_ns,
        )
        end_ns = now_ns - self._grace_ns
        if end_ns - start_ns < self._margin_ns - self._grace_ns:
            return None
        start_ns = max(start_ns, end_ns - max(2 * self._limit_ns(topic), 4 * self._patience_ns))
        return start_ns // 1_000_000, end_ns // 1_000_000

    def is_silent(self, native: str, since_ns: int) -> bool:
        """Has it stayed silent after a moment?"""
        topic = self._topics.get(native)
        return topic is not None and topic.since_ns is not None and topic.heard_ns < since_ns

    def unknown(self, native: str, now_ns: int) -> None:
        """Nobody answered: ask again later."""
        self._topics[native].next_ns = now_ns + self._patience_ns

    def quiet(self, native: str, interval: tuple[int, int], now_ns: int) -> None:
        """The venue did not trade either in `[start, end)` ms: nothing is wrong, and the next question can wait longer.

        Of what already missed trades, only an interval as long as the patience tells that: else it is asked again soon.
        """
        topic = self._topics[native]
        start_ms, end_ms = interval
        if topic.missing_ns and (end_ms - start_ms) * 1_000_000 < self._patience_ns:
            topic.next_ns = now_ns + self._margin_ns
            return
        topic.clear_ns = max(topic.clear_ns, end_ms * 1_000_000)
        topic.quiets += 1
        pause_ns = self._limit_ns(topic) << min(topic.quiets, _DOUBLINGS)
        topic.next_ns = now_ns + min(pause_ns, self._longest_ns)

    def stalled(self, native: str, peers: Collection[str], now_ns: int, *, is_rested: bool = True) -> Stall:
        """The venue did trade: subscribe again, next time replace the connection, and so in turns.

        When no peer on the same connection was heard lately, its whole channel is meant, since its last frame. A
        connection that is replaced for one symbol may have failed others whose own pauses are longer: whoever of
        them is silent for the margin is meant too. Unless `is_rested`, only a channel is worth a new connection.
        """
        recent_ns = now_ns - self._patience_ns
        topics = {n: t for n in peers if (t := self._topics.get(n)) is not None and t.since_ns is not None}
        since = {n: t.silent_since_ns() for n, t in topics.items()}
        is_channel = len(topics) > 1 and all(silent_ns <= recent_ns for silent_ns in since.values())
        remedies = self._topics[native].remedies
        remedy = Remedy.REPLACE if remedies % 2 and (is_channel or is_rested) else Remedy.RESUBSCRIBE
        if is_channel:
            since = dict.fromkeys(since, max(since.values()))
        elif remedy is Remedy.REPLACE:
            since = {n: at_ns for n, at_ns in since.items() if n == native or at_ns <= now_ns - self._margin_ns}
        else:
            since = {native: self._topics[native].silent_since_ns()}
        missing = {name: self._topics[name].missing_ns or silent_ns for name, silent_ns in since.items()}
        pause_ns = self._remedy_within_ns << min(max(0, remedies - 1), _DOUBLINGS)
        for name in missing:
            self._topics[name].act(now_ns, remedies + 1, now_ns + min(pause_ns, self._longest_ns))
        return Stall(remedy, missing, is_channel)

    def healed(self) -> dict[str, int]:
        """What missed trades and does no longer, with since when that was not reported; told once."""
        found = {}
        for native, topic in self._topics.items():
            if topic.missing_ns and (topic.quiets or not topic.remedies):
                found[native], topic.missing_ns = topic.missing_ns, 0
        return found

    def stalls(self) -> list[str]:
        """The symbols whose trades are missing now."""
        return sorted(native for native, topic in self._topics.items() if topic.missing_ns)

    def receiving(self, now_ns: int) -> int:
        """How many symbols bring trades within their limit, or are proven to have none."""
        return sum(
            topic.since_ns is not None
            and not topic.missing_ns
            and (topic.quiets > 0 or (topic.heard_ns > 0 and self._is_within_limit(topic, now_ns)))
            for topic in self._topics.values()
        )

    def _is_overdue(self, topic: _Topic, now_ns: int) -> bool:
        if topic.since_ns is None or now_ns < topic.next_ns:
            return False
        return bool(topic.remedies) or not self._is_within_limit(topic, now_ns)

    def _is_within_limit(self, topic: _Topic, now_ns: int) -> bool:
        silence_ns = now_ns - topic.silent_since_ns()
        return silence_ns <= self._patience_ns or silence_ns <= self._limit_ns(topic)

    def _limit_ns(self, topic: _Topic) -> int:
        if not topic.intervals:
            return self._patience_ns
        ranked = sorted(topic.intervals)
        usual_ns = ranked[-(-_PERCENTILE * len(ranked) // 100) - 1]
        return min(max(self._patience_ns, _FACTOR * usual_ns), self._longest_ns)


def _pause_ns(topic: _Topic) -> float:
    return sum(topic.intervals) / len(topic.intervals) if topic.intervals else float("inf")
