"""One connection's conversation with the toy venue; pure.

    {"watch":["BTC-USD","NO-PE"]}  ->  {"watching":["BTC-USD"],"unknown":["NO-PE"]}

Every `watch` replaces the one before.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from exchanges.pacing import SECOND, Pace, rotation_ns
from exchanges.venue import KEEP, NOTHING, Close, Event, Limits, Ready, Refused, Rotate, Send
from livermore.core.errors import LocalProtocolError
from livermore.core.trade import Nanos

_ANSWER_WITHIN_NS = 10 * SECOND


class _Answer(msgspec.Struct):
    watching: list[str]
    unknown: list[str] = []


_decode = msgspec.json.Decoder(_Answer).decode


class ToySession:
    """Says what is wanted whenever that changes, at the allowed pace."""

    def __init__(self, limits: Limits, natives: Collection[str]) -> None:
        self._limits = limits
        self._pace = Pace(limits.messages_per_second)
        self._silence_ns = int(limits.silence_s * SECOND)
        self._wanted: list[str] = []
        self._refused: set[str] = set()
        self._told: list[str] | None = None
        self._asked_ns: int | None = None
        self._heard_ns = 0
        self._rotate_ns: int | None = None
        self._is_ready = self._is_leaving = False
        self._want(natives)

    def opened(self, now: Nanos) -> Sequence[Event]:
        """Speaks at once."""
        self._heard_ns = now
        self._rotate_ns = rotation_ns(self._limits, self._wanted, now)
        return self._speak(now)

    def received(self, payload: bytes, now: Nanos) -> Sequence[Event]:
        """`KEEP` for trades; what is neither trade nor answer is the mapper's to set aside."""
        self._heard_ns = now
        if payload.startswith(b'{"trade":'):
            return KEEP
        try:
            answer = _decode(payload)
        except (ValueError, RecursionError):
            return KEEP
        self._asked_ns = None
        refused = tuple(n for n in answer.unknown if n in self._wanted)
        self._refused.update(refused)
        self._wanted = [n for n in self._wanted if n not in self._refused]
        self._told = [n for n in self._told or () if n not in self._refused]
        events: list[Event] = [Refused(refused, "unknown")] if refused else []
        if not self._is_ready and self._wanted and self._wanted == self._told:
            self._is_ready = True
            events.append(Ready())
        return events

    def tick(self, now: Nanos) -> Sequence[Event]:
        """Judges silence, a missing answer and age; sends what is due."""
        if now - self._heard_ns >= self._silence_ns:
            return [Close(f"no frame for {self._limits.silence_s:g} s")]
        if self._asked_ns is not None and now - self._asked_ns >= _ANSWER_WITHIN_NS:
            return [Close("no answer for 10 s")]
        events = list(self._speak(now))
        if self._rotate_ns is not None and now >= self._rotate_ns and not self._is_leaving:
            self._is_leaving = True
            events.append(Rotate("the connection's lifetime is nearly over"))
        return events

    def follow(self, natives: Collection[str], now: Nanos) -> Sequence[Event]:
        """Makes `natives` what is wanted."""
        self._want(natives)
        return self._speak(now)

    def _want(self, natives: Collection[str]) -> None:
        if len(natives) > self._limits.topics_per_connection:
            raise LocalProtocolError(f"{len(natives)} symbols on a connection for {self._limits.topics_per_connection}")
        self._refused.intersection_update(natives)
        self._wanted = [n for n in natives if n not in self._refused]

    def _speak(self, now: Nanos) -> Sequence[Event]:
        if self._told == self._wanted or not self._pace.is_free(now):
            return NOTHING
        self._pace.spend(now)
        self._told, self._asked_ns = list(self._wanted), now
        return [Send(msgspec.json.encode({"watch": self._wanted}).decode())]
