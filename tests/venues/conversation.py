"""Plays a scripted conversation against a session with a clock of its own, as a stream would."""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from exchanges.venue import (
    Close,
    Event,
    Keep,
    Limits,
    Lost,
    Ready,
    Refused,
    Rotate,
    Send,
    Session,
    SessionFactory,
)
from livermore.core.trade import Nanos

TICK_NS = 100_000_000
START_NS = 1_790_000_000_000_000_000

LIMITS = Limits(topics_per_connection=1024, messages_per_second=5.0, connection_lifetime_s=None, silence_s=60.0)


@dataclass(slots=True)
class Player:
    """Ticks every 100 ms; `log` holds every event with its second since the opening.

    `beat`, where given, is a frame that the venue sends every second, `greeting` one that it sends at once;
    `{sequence}` in any frame becomes the number of the frame on this connection.
    """

    session: Session
    beat: str | None = None
    greeting: str | None = None
    now_ns: int = START_NS
    log: list[tuple[float, Event]] = field(default_factory=list)
    _frames: int = 0
    _beats: int = 0

    def open(self) -> None:
        self._note(self.session.opened(Nanos(self.now_ns)))
        if self.greeting:
            self.receive(self.greeting)

    def receive(self, frame: str | bytes) -> None:
        payload = frame.replace("{sequence}", str(self._frames)).encode() if isinstance(frame, str) else frame
        self._frames += 1
        self._note(self.session.received(payload, Nanos(self.now_ns)))

    def follow(self, natives: Collection[str]) -> None:
        self._note(self.session.follow(natives, Nanos(self.now_ns)))

    def advance_to(self, at_s: float) -> None:
        """Ticks up to `at_s` seconds after the opening, or to the first `Close`."""
        while self.now_ns < START_NS + round(at_s * 1e9) and not self.has(Close):
            self.now_ns += TICK_NS
            if self.beat and (self.now_ns - START_NS) // 1_000_000_000 > self._beats:
                self._beats += 1
                self.receive(self.beat)
            self._note(self.session.tick(Nanos(self.now_ns)))

    def has(self, kind: type) -> bool:
        return any(isinstance(event, kind) for _, event in self.log)

    def sends(self) -> Iterator[tuple[float, Any]]:
        """When (s) and what was sent, decoded."""
        return ((at, json.loads(e.text)) for at, e in self.log if isinstance(e, Send))

    def _note(self, events: Sequence[Event]) -> None:
        at_s = (self.now_ns - START_NS) / 1e9
        self.log.extend((at_s, event) for event in events)


def play(script: dict[str, Any], factory: SessionFactory) -> Iterator[tuple[str, list[Any], list[Any]]]:
    """For each step: its name, what the script expects since the step before, and what happened."""
    limits = Limits(**{f: getattr(LIMITS, f) for f in Limits.__slots__} | script.get("limits", {}))
    player = Player(factory(limits, script["natives"]), script.get("beat"))
    seen = 0
    for number, step in enumerate(script["steps"]):
        player.advance_to(step["at"])
        if step.get("open"):
            player.open()
        for frame in step.get("receive", ()):
            player.receive(_frame(frame))
        if "follow" in step:
            player.follow(step["follow"])
        happened = [_plain(event) for _, event in player.log[seen:]]
        seen = len(player.log)
        yield f"step {number} at {step['at']} s", step.get("expect", []), happened


def _frame(said: str | dict[str, Any]) -> str | bytes:
    """A frame of a script: text as it is, JSON, or `{"b64": …}` where the venue sends bytes."""
    if isinstance(said, str):
        return said
    return base64.b64decode(said["b64"]) if "b64" in said else json.dumps(said, separators=(",", ":"))


def _plain(event: Event) -> Any:
    match event:
        case Send(text):
            return {"send": json.loads(text)}
        case Refused(natives):
            return {"refused": sorted(natives)}
        case Keep() | Ready() | Lost() | Rotate() | Close():
            return type(event).__name__.lower()


