"""One KuCoin connection's conversation; pure.

    {"id":"hQvf8jkno","type":"welcome"}        first, and nothing may be said before
    {"id":"1","type":"subscribe","topic":"/market/match:BTC-USDT,ETH-USDT","privateChannel":false,"response":true}
        ->  {"id":"1","type":"ack"}  or  {"id":"1","type":"error","code":404,"data":"topic … is not found"}
    {"id":"2","type":"ping"}  ->  {"id":"2","type":"pong","timestamp":1729843222921}

The ping is the client's, at the interval of the token reply; WebSocket pings do not replace it.
https://www.kucoin.com/docs-new/websocket-api/base-info/introduction
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from exchanges.pacing import SECOND, Lifetime, Pace
from exchanges.subscribing import Request, Requests, Subscriptions
from exchanges.venue import KEEP, NOTHING, Close, Event, Limits, Send
from livermore.core.errors import RemoteProtocolError
from livermore.core.trade import Nanos

_SYMBOLS_PER_FRAME = 100
_ANSWER_WITHIN_NS = 10 * SECOND
_PING_INTERVAL_S, _PING_TIMEOUT_S = 18.0, 10.0
"""What every token reply on record says; used where the address came without one."""

_TOPIC = "/market/match:"
_MATCH, _MESSAGE = b'"/market/match:', b'"type":"message"'
_SUBSCRIBE, _UNSUBSCRIBE, _PING = "subscribe", "unsubscribe", "ping"
_ID_DIGITS = 18

_decode = msgspec.json.Decoder().decode


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
        self._lifetime = Lifetime()
        self._subscriptions = Subscriptions(limits, natives)
        self._requests = Requests()
        self._opened_ns = self._heard_ns = self._pinged_ns = 0
        self._unanswered_ping_ns: int | None = None
        self._is_welcome = False

    def opened(self, now: Nanos) -> Sequence[Event]:
        """Waits: the venue greets first."""
        self._opened_ns = self._heard_ns = self._pinged_ns = now
        self._lifetime.begin(self._limits, self._subscriptions.wanted, now)
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
        if self._requests.is_overdue(now, _ANSWER_WITHIN_NS):
            return [Close("a request was not answered for 10 s")]
        return [*self._speak(now), *self._lifetime.judge(now)]

    def follow(self, natives: Collection[str], now: Nanos) -> Sequence[Event]:
        """Makes `natives` what is wanted; only the difference is sent."""
        self._subscriptions.want(natives)
        return [*self._speak(now), *self._readiness()]

    def _speak(self, now: Nanos) -> Sequence[Event]:
        """At most one message: the ping that is due, what is unwanted, suspects, what is missing."""
        if not self._is_welcome or not self._pace.is_free(now):
            return NOTHING
        if now - self._pinged_ns >= self._ping_every_ns:
            self._pinged_ns = now
            if self._unanswered_ping_ns is None:
                self._unanswered_ping_ns = now
            return self._send({"id": str(self._requests.ask(_PING, (), now)), "type": _PING}, now)
        if gone := self._subscriptions.drop(_SYMBOLS_PER_FRAME):
            return self._ask(_UNSUBSCRIBE, gone, now)
        if added := self._subscriptions.add(_SYMBOLS_PER_FRAME):
            return self._ask(_SUBSCRIBE, added, now)
        return NOTHING

    def _ask(self, kind: str, natives: tuple[str, ...], now: Nanos) -> Sequence[Event]:
        asked = {"id": str(self._requests.ask(kind, natives, now)), "type": kind}
        topic = {"topic": _TOPIC + ",".join(natives), "privateChannel": False, "response": True}
        return self._send(asked | topic, now)

    def _send(self, message: dict[str, Any], now: Nanos) -> Sequence[Event]:
        self._pace.spend(now)
        return [Send(msgspec.json.encode(message).decode())]

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
        if request is not None and request.verb == _UNSUBSCRIBE:
            return NOTHING
        is_about_topics = code in (400, 404) or (code == 509 and "subscription count" in why)
        if request is None or not is_about_topics:
            return [Close(f"the venue says: {code} {why}")]
        return [*self._subscriptions.doubt(request.natives, why), *self._readiness()]

    def _asked(self, said: object) -> Request | None:
        """The request an answer belongs to; None for a repeated answer or one to a ping."""
        if not isinstance(said, str) or not said.isdecimal() or len(said) > _ID_DIGITS:
            raise RemoteProtocolError(f"an answer to a question never asked: id {str(said)[:40]!r}")
        return self._requests.answered(int(said))

    def _readiness(self) -> Sequence[Event]:
        is_waiting = not self._is_welcome or self._requests.is_open(_SUBSCRIBE)
        return self._subscriptions.readiness(is_waiting=is_waiting)
