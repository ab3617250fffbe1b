"""One KuCoin connection's conversation; pure.

    {"id":"hQvf8jkno","type":"welcome"}        first, and nothing may be said before
    {"id":"1","type":"subscribe","topic":"/market/match:BTC-USDT,ETH-USDT","privateChannel":false,"response":true}
        ->  {"id":"1","type":"ack"}  or  {"id":"1","type":"error","code":404,"data":"topic … is not found"}
    {"id":"2","type":"ping"}  ->  {"id":"2","type":"pong","timestamp":1729843222921}

The ping is the client's, at the interval of the token reply; WebSocket pings do not replace it.
https://www.kucoin.com/docs-new/websocket-api/base-info/introduction
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

_SYMBOLS_PER_FRAME = 100
_ANSWER_WITHIN_NS = 10 * SECOND
_PING_INTERVAL_S, _PING_TIMEOUT_S = 18.0, 10.0
"""What every token reply on record says; used where the address came without one."""

_TOPIC = "/market/match:"
_MATCH, _MESSAGE = b'"/market/match:', b'"type":"message"'
_SUBSCRIBE, _UNSUBSCRIBE = "subscribe", "unsubscribe"
_ID_DIGITS = 18

_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class _Request:
    kind: str
    natives: tuple[str, ...]
    sent_ns: int


class KucoinSession:
    """Subscribes to the matches of the natives, in paced groups, keeps pinging, and tracks the answers.

    What is sent follows from the difference between what is wanted and what the venue was told, so
    `follow` may be called at any time. A refused group is halved until the symbol at fault is alone.
    Raises `LocalProtocolError` when given more natives than a connection carries.
    """

    def __init__(self, limits: Limits, natives: Collection[str]) -> None:
        self._limits = limits
        self._pace = Pace(limits.messages_per_second)
        self._silence_ns = int(limits.silence_s * SECOND)
        self._ping_every_ns = int((limits.ping_interval_s or _PING_INTERVAL_S) * SECOND)
        self._pong_within_ns = int((limits.ping_timeout_s or _PING_TIMEOUT_S) * SECOND)
        self._wanted: dict[str, None] = {}
        self._told: dict[str, None] = {}
        self._refused: set[str] = set()
        self._suspects: deque[tuple[str, ...]] = deque()
        self._requests: dict[int, _Request] = {}
        self._last_id = 0
        self._opened_ns = self._heard_ns = self._pinged_ns = 0
        self._unanswered_ping_ns: int | None = None
        self._rotate_ns: int | None = None
        self._is_welcome = self._is_ready = self._is_leaving = False
        self._is_dirty = True
        self._want(natives)

    def opened(self, now: Nanos) -> Sequence[Event]:
        """Waits: the venue greets first."""
        self._opened_ns = self._heard_ns = self._pinged_ns = now
        self._rotate_ns = rotation_ns(self._limits, self._wanted, now)
        return NOTHING

    def received(self, payload: bytes, now: Nanos) -> Sequence[Event]:
        """`KEEP` for trades after a search for their topic; control frames are parsed."""
        self._heard_ns = now
        if _MESSAGE in payload:
            # Fields come in any order, so the topic may stand at either end.
            return KEEP if _MATCH in payload else NOTHING
        return self._control(payload, now)

    def tick(self, now: Nanos) -> Sequence[Event]:
        """Sends what is due; judges silence, missing answers and age."""
        if now - self._heard_ns >= self._silence_ns:
            return [Close(f"no frame for {self._limits.silence_s:g} s")]
        if not self._is_welcome and now - self._opened_ns >= _ANSWER_WITHIN_NS:
            return [Close("no welcome within 10 s")]
        if self._unanswered_ping_ns is not None and now - self._unanswered_ping_ns >= self._pong_within_ns:
            return [Close(f"no pong within {self._pong_within_ns / SECOND:g} s")]
        if any(now - r.sent_ns >= _ANSWER_WITHIN_NS for r in self._requests.values()):
            return [Close("a request was not answered for 10 s")]
        events = list(self._speak(now))
        if self._rotate_ns is not None and now >= self._rotate_ns and not self._is_leaving:
            self._is_leaving = True
            events.append(Rotate("the connection's lifetime is nearly over"))
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
        """At most one message: the ping that is due, what is unwanted, suspects, what is missing."""
        is_ping_due = now - self._pinged_ns >= self._ping_every_ns
        if not self._is_welcome or not (self._is_dirty or is_ping_due) or not self._pace.is_free(now):
            return NOTHING
        if is_ping_due:
            self._pinged_ns = now
            if self._unanswered_ping_ns is None:
                self._unanswered_ping_ns = now
            return self._send({"type": "ping"}, now)
        if gone := _group(n for n in self._told if n not in self._wanted):
            for native in gone:
                del self._told[native]
            return self._ask(_UNSUBSCRIBE, gone, now)
        if added := self._next_added():
            self._told.update(dict.fromkeys(added))
            return self._ask(_SUBSCRIBE, added, now)
        self._is_dirty = False
        return NOTHING

    def _next_added(self) -> tuple[str, ...]:
        while self._suspects:
            group = self._suspects.popleft()
            if still := tuple(n for n in group if n in self._wanted and n not in self._told):
                return still
        return _group(n for n in self._wanted if n not in self._told)

    def _ask(self, kind: str, natives: tuple[str, ...], now: Nanos) -> Sequence[Event]:
        self._requests[self._last_id + 1] = _Request(kind, natives, now)
        topic = _TOPIC + ",".join(natives)
        return self._send({"type": kind, "topic": topic, "privateChannel": False, "response": True}, now)

    def _send(self, message: dict[str, Any], now: Nanos) -> Sequence[Event]:
        self._pace.spend(now)
        self._last_id += 1
        return [Send(msgspec.json.encode({"id": str(self._last_id)} | message).decode())]

    def _control(self, payload: bytes, now: Nanos) -> Sequence[Event]:
        try:
            said = _decode(payload)
        except (ValueError, RecursionError):
            return KEEP  # the mapper sets it aside, where people look for such frames
        if not isinstance(said, dict):
            return KEEP
        match said.get("type"):
            case "message":
                return KEEP if str(said.get("topic", "")).startswith(_TOPIC) else NOTHING
            case "welcome":
                self._is_welcome = True
                return [*self._speak(now), *self._readiness()]
            case "ack":
                self._asked(said.get("id"))
                return self._readiness()
            case "pong":
                self._unanswered_ping_ns = None
                return NOTHING
            case "error":
                return self._error(said)
            case _:
                return NOTHING

    def _error(self, said: dict[str, Any]) -> Sequence[Event]:
        """A bad topic, or one too many, is refused; anything else ends the connection.

        Code 509 also stands for a pace we exceeded and for a busy venue; both pass with a new connection.
        """
        code, why = said.get("code"), str(said.get("data", ""))[:200]
        request = self._asked(said.get("id")) if said.get("id") is not None else None
        if request is not None and request.kind == _UNSUBSCRIBE:
            return NOTHING
        is_about_topics = code in (400, 404) or (code == 509 and "subscription count" in why)
        if request is None or not is_about_topics:
            return [Close(f"the venue says: {code} {why}")]
        return [*self._not_served(request.natives, why), *self._readiness()]

    def _asked(self, number: object) -> _Request | None:
        """The request an answer belongs to; None for a repeated answer or one to a ping."""
        is_ours = isinstance(number, str) and number.isdecimal() and len(number) <= _ID_DIGITS
        if not is_ours or not 0 < int(str(number)) <= self._last_id:
            raise RemoteProtocolError(f"an answer to a question never asked: id {str(number)[:40]!r}")
        return self._requests.pop(int(str(number)), None)

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
        is_asking = any(r.kind == _SUBSCRIBE for r in self._requests.values())
        is_untold = any(n not in self._told for n in self._wanted)
        if self._is_ready or not self._is_welcome or is_asking or is_untold:
            return NOTHING
        if self._refused and not self._wanted:
            return NOTHING
        self._is_ready = True
        return [Ready()]


def _group(natives: Iterable[str]) -> tuple[str, ...]:
    return tuple(islice(natives, _SYMBOLS_PER_FRAME))
