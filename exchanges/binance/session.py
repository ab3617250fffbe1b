"""One Binance connection's conversation on the combined endpoint `/stream`; pure.

    {"method":"SUBSCRIBE","params":["btcusdt@aggTrade"],"id":1}   ->  {"result":null,"id":1}
    {"code":2,"msg":"Invalid request: …","id":1}  or  {"error":{"code":4,"msg":"…"},"id":1}

https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams; Binance.US takes unsigned
integer ids only. Unknown symbols are acknowledged and stay silent: only the instruments tell them.
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

_STREAMS_PER_FRAME = 200
_ACK_WITHIN_NS = 10 * SECOND
_SUBSCRIBE, _UNSUBSCRIBE, _PROBE = "SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS"

_decode = msgspec.json.Decoder().decode


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
        self._lifetime = Lifetime()
        self._subscriptions = Subscriptions(limits, natives)
        self._requests = Requests()
        self._heard_ns = 0
        self._asked_ns = 0

    def opened(self, now: Nanos) -> Sequence[Event]:
        """The first chunk goes out at once."""
        self._heard_ns = self._asked_ns = now
        self._lifetime.begin(self._limits, self._subscriptions.wanted, now)
        return [*self._speak(now), *self._readiness()]

    def received(self, payload: bytes, now: Nanos) -> Sequence[Event]:
        """`KEEP` for trades after a look at the first bytes; control frames are parsed."""
        self._heard_ns = now
        if payload.startswith(b'{"stream":"'):
            if payload.find(b'@aggTrade"', 11, 96) > 0:
                return KEEP
            is_shutdown = payload.startswith(b"!serverShutdown", 11)
            return self._lifetime.end("serverShutdown") if is_shutdown else NOTHING
        return self._control(payload)

    def tick(self, now: Nanos) -> Sequence[Event]:
        """Sends what is due; judges silence, missing acknowledgements and age."""
        if now - self._heard_ns >= self._silence_ns:
            return [Close(f"no frame for {self._limits.silence_s:g} s")]
        if self._requests.is_overdue(now, _ACK_WITHIN_NS):
            return [Close("a request was not answered for 10 s")]
        return [*self._speak(now), *self._lifetime.judge(now)]

    def follow(self, natives: Collection[str], now: Nanos) -> Sequence[Event]:
        """Makes `natives` what is wanted; only the difference is sent."""
        self._subscriptions.want(natives)
        return [*self._speak(now), *self._readiness()]

    def _speak(self, now: Nanos) -> Sequence[Event]:
        """At most one message: drop what is unwanted, retry suspects, add what is missing, probe."""
        if not self._pace.is_free(now):
            return NOTHING
        if gone := self._subscriptions.drop(_STREAMS_PER_FRAME):
            return self._ask(_UNSUBSCRIBE, gone, now)
        if added := self._subscriptions.add(_STREAMS_PER_FRAME):
            return self._ask(_SUBSCRIBE, added, now)
        return self._ask(_PROBE, (), now) if self._is_probe_due(now) else NOTHING

    def _is_probe_due(self, now: Nanos) -> bool:
        """Thin markets are silent; an answered question tells silence from a dead connection."""
        return now - max(self._heard_ns, self._asked_ns) >= self._silence_ns // 3

    def _ask(self, method: str, natives: tuple[str, ...], now: Nanos) -> Sequence[Event]:
        self._pace.spend(now)
        self._asked_ns = now
        message: dict[str, Any] = {"method": method, "id": self._requests.ask(method, natives, now)}
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
            return self._lifetime.end("serverShutdown")
        return KEEP if kind == "aggTrade" else NOTHING

    def _answer(self, said: dict[str, Any]) -> Sequence[Event]:
        request = self._asked(said.get("id"))
        if request is None:
            return NOTHING
        error = said.get("error", said if "code" in said else None)
        if error is None:
            return self._readiness()
        why = str(error.get("msg", error)) if isinstance(error, dict) else str(error)
        if request.verb != _SUBSCRIBE:
            return NOTHING
        return [*self._subscriptions.doubt(request.natives, why), *self._readiness()]

    def _asked(self, said: object) -> Request | None:
        """The request an answer belongs to; without an id, the oldest; None for a repeated answer."""
        number = self._requests.oldest() if said is None else said
        if not isinstance(number, int):
            raise RemoteProtocolError(f"an answer to a question never asked: id {said!r}")
        return self._requests.answered(number)

    def _readiness(self) -> Sequence[Event]:
        return self._subscriptions.readiness(is_waiting=self._requests.is_open(_SUBSCRIBE))
