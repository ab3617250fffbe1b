"""One Binance connection's conversation on the combined endpoint `/stream`; pure.

    {"method":"SUBSCRIBE","params":["btcusdt@aggTrade"],"id":1}   ->  {"result":null,"id":1}
    {"code":2,"msg":"Invalid request: …","id":1}  or  {"error":{"code":4,"msg":"…"},"id":1}

https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams; Binance.US takes unsigned
integer ids only. Unknown symbols are acknowledged and stay silent: only the instruments tell them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgspec

from exchanges.pacing import SECOND, Pace, rotation_ns
from exchanges.venue import KEEP, NOTHING, Close, Event, Limits, Ready, Refused, Rotate, Send
from livermore.core.errors import LocalProtocolError, RemoteProtocolError
from livermore.core.trade import Nanos

_STREAMS_PER_FRAME = 200
_ACK_WITHIN_NS = 10 * SECOND
_SUBSCRIBE, _UNSUBSCRIBE, _PROBE = "SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS"

_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    natives: tuple[str, ...]
    sent_ns: int


class BinanceSession:
    """Subscribes to `@aggTrade` of the natives, in paced chunks, and keeps track of the answers.

    What is sent follows from the difference between what is wanted and what the venue was told, so
    `follow` may be called at any time. A refused chunk is halved until the symbol at fault is alone.
    Raises `LocalProtocolError` when given more natives than a connection carries.
    """

    def __init__(self, limits: Limits, natives: Collection[str]) -> None:
        self._limits = limits
        self._pace = Pace(limits.messages_per_second)
        self._silence_ns = int(limits.silence_s * SECOND)
        self._wanted: dict[str, None] = {}
        self._told: dict[str, None] = {}
        self._refused: set[str] = set()
        self._suspects: deque[tuple[str, ...]] = deque()
        self._requests: dict[int, _Request] = {}
        self._last_id = 0
        self._heard_ns = 0
        self._asked_ns = 0
        self._rotate_ns: int | None = None
        self._is_ready = self._is_leaving = False
        self._is_dirty = True
        self._want(natives)

    def opened(self, now: Nanos) -> Sequence[Event]:
        """The first chunk goes out at once."""
        self._heard_ns = self._asked_ns = now
        self._rotate_ns = rotation_ns(self._limits, self._wanted, now)
        return [*self._speak(now), *self._readiness()]

    def received(self, payload: bytes, now: Nanos) -> Sequence[Event]:
        """`KEEP` for trades after a look at the first bytes; control frames are parsed."""
        self._heard_ns = now
        if payload.startswith(b'{"stream":"'):
            if payload.find(b'@aggTrade"', 11, 96) > 0:
                return KEEP
            return self._rotate("serverShutdown") if payload.startswith(b"!serverShutdown", 11) else NOTHING
        return self._control(payload)

    def tick(self, now: Nanos) -> Sequence[Event]:
        """Sends what is due; judges silence, missing acknowledgements and age."""
        if now - self._heard_ns >= self._silence_ns:
            return [Close(f"no frame for {self._limits.silence_s:g} s")]
        if any(now - r.sent_ns >= _ACK_WITHIN_NS for r in self._requests.values()):
            return [Close("a request was not answered for 10 s")]
        events = list(self._speak(now))
        if self._rotate_ns is not None and now >= self._rotate_ns:
            events += self._rotate("the connection's lifetime is nearly over")
        return events

    def follow(self, natives: Collection[str], now: Nanos) -> Sequence[Event]:
        """Makes `natives` what is wanted; only the difference is sent."""
        self._want(natives)
        return [*self._speak(now), *self._readiness()]

    def _want(self, natives: Collection[str]) -> None:
        if len(natives) > self._limits.topics_per_connection:
            raise LocalProtocolError(
                f"{len(natives)} symbols on a connection for {self._limits.topics_per_connection}"
            )
        self._refused.intersection_update(natives)
        self._wanted = dict.fromkeys(n for n in natives if n not in self._refused)
        self._is_dirty = True

    def _speak(self, now: Nanos) -> Sequence[Event]:
        """At most one message: drop what is unwanted, retry suspects, add what is missing, probe."""
        if not (self._is_dirty or self._is_probe_due(now)) or not self._pace.is_free(now):
            return NOTHING
        if gone := _chunk(n for n in self._told if n not in self._wanted):
            for native in gone:
                del self._told[native]
            return self._ask(_UNSUBSCRIBE, gone, now)
        if added := self._next_added():
            self._told.update(dict.fromkeys(added))
            return self._ask(_SUBSCRIBE, added, now)
        self._is_dirty = False
        return self._ask(_PROBE, (), now) if self._is_probe_due(now) else NOTHING

    def _is_probe_due(self, now: Nanos) -> bool:
        """Thin markets are silent; an answered question tells silence from a dead connection."""
        return now - max(self._heard_ns, self._asked_ns) >= self._silence_ns // 3

    def _next_added(self) -> tuple[str, ...]:
        while self._suspects:
            group = self._suspects.popleft()
            if still := tuple(n for n in group if n in self._wanted and n not in self._told):
                return still
        return _chunk(n for n in self._wanted if n not in self._told)

    def _ask(self, method: str, natives: tuple[str, ...], now: Nanos) -> Sequence[Event]:
        self._pace.spend(now)
        self._asked_ns = now
        self._last_id += 1
        if natives:
            self._requests[self._last_id] = _Request(method, natives, now)
        message: dict[str, Any] = {"method": method, "id": self._last_id}
        if natives:
            message["params"] = [f"{n.lower()}@aggTrade" for n in natives]
        return [Send(msgspec.json.encode(message).decode())]

    def _control(self, payload: bytes) -> Sequence[Event]:
        try:
            said = _decode(payload)
        except (ValueError, RecursionError):
            return KEEP  # the mapper sets it aside, where people look for such frames
        if not isinstance(said, dict):
            return KEEP
        if "id" in said or "error" in said or "code" in said:
            return self._answer(said)
        stream = said.get("stream")
        event = said.get("data", said)
        kind = event.get("e") if isinstance(event, dict) else None
        if kind == "serverShutdown" or stream == "!serverShutdown":
            return self._rotate("serverShutdown")
        return KEEP if kind == "aggTrade" else NOTHING

    def _answer(self, said: dict[str, Any]) -> Sequence[Event]:
        request = self._asked(said.get("id"))
        if request is None:
            return NOTHING
        error = said.get("error", said if "code" in said else None)
        if error is None:
            return self._readiness()
        why = str(error.get("msg", error)) if isinstance(error, dict) else str(error)
        if request.method != _SUBSCRIBE:
            return NOTHING
        return [*self._not_served(request.natives, why), *self._readiness()]

    def _asked(self, number: object) -> _Request | None:
        """The request an answer belongs to; without an id, the oldest; None for a repeated answer."""
        if number is None and self._requests:
            return self._requests.pop(next(iter(self._requests)))
        if not isinstance(number, int) or not 0 < number <= self._last_id:
            raise RemoteProtocolError(f"an answer to a question never asked: id {number!r}")
        return self._requests.pop(number, None)

    def _not_served(self, natives: tuple[str, ...], why: str) -> Sequence[Event]:
        for native in natives:
            self._told.pop(native, None)
        self._is_dirty = True
        if len(natives) > 1:
            half = len(natives) // 2
            self._suspects.extendleft((natives[half:], natives[:half]))
            return NOTHING
        self._refused.update(natives)
        self._wanted = {n: None for n in self._wanted if n not in self._refused}
        return [Refused(natives, why)]

    def _readiness(self) -> Sequence[Event]:
        """`Ready` once, when all wanted is acknowledged; never when all was refused."""
        is_asking = any(r.method == _SUBSCRIBE for r in self._requests.values())
        is_untold = any(n not in self._told for n in self._wanted)
        if self._is_ready or is_asking or is_untold or (self._refused and not self._wanted):
            return NOTHING
        self._is_ready = True
        return [Ready()]

    def _rotate(self, why: str) -> Sequence[Event]:
        """Once: from then on the successor is under way."""
        if self._is_leaving:
            return NOTHING
        self._is_leaving = True
        return [Rotate(why)]


def _chunk(natives: Iterable[str]) -> tuple[str, ...]:
    return tuple(islice(natives, _STREAMS_PER_FRAME))
