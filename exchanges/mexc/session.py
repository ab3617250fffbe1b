"""One MEXC connection's conversation: JSON text to and fro, binary protobuf only in; pure.

    {"method":"SUBSCRIPTION","params":["spot@public.aggre.deals.v3.api.pb@100ms@BTCUSDT"],"id":1}
    ->  {"id":0,"code":0,"msg":"spot@public.aggre.deals.v3.api.pb@100ms@BTCUSDT"}
    ->  {"id":0,"code":0,"msg":"Subscribed successful! [a,b]. Not Subscribed successfully! [d].  Reason： Blocked! "}
    {"method":"PING"}  ->  {"id":0,"code":0,"msg":"PONG"}

Refusals stand in the text of an answer whose code says success, and answers do not repeat the request's id:
they are matched by topic. https://www.mexc.com/api-docs/spot-v3/websocket-market-streams
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec

from exchanges.pacing import SECOND, Lifetime, Pace
from exchanges.subscribing import Subscriptions
from exchanges.venue import KEEP, NOTHING, Close, Event, Limits, Send
from livermore.core.trade import Nanos

_TOPIC = "spot@public.aggre.deals.v3.api.pb@100ms@"
_DEALS = b"spot@public.aggre.deals."
_NAME_AT = 2
"""In a frame: after the tag of the first field and the length of the channel's name."""

_PING_EVERY_NS = 20 * SECOND
_LISTEN_NS = 20 * SECOND
_ANSWER_WITHIN_NS = 10 * SECOND

_CLAUSES = re.compile(r"(?<!Not )(?=(?:Not )?Subscribed success)")
_NAMED = re.compile(re.escape(_TOPIC) + r"([^\s,\[\]]+)")
_REASON = re.compile(r"Reason\s*[：:]\s*(.*)", re.DOTALL)

_decode = msgspec.json.Decoder().decode


class MexcSession:
    """Subscribes to the deals of the natives and knows of each whether it is asked, acknowledged, heard.

    What no answer names is asked again by itself, then refused. What was silent for 20 s is asked again
    too: the venue loses subscriptions without a word, and acknowledges a repeated one like a new one.
    What is sent follows from the difference between what is wanted and what the venue was told, so
    `follow` may be called at any time. Raises `LocalProtocolError` when given more natives than a
    connection carries: the venue would drop the surplus in silence.
    """

    def __init__(self, limits: Limits, natives: Collection[str]) -> None:
        self._limits = limits
        self._pace = Pace(limits.messages_per_second)
        self._silence_ns = int(limits.silence_s * SECOND)
        self._ping_every_ns = min(_PING_EVERY_NS, self._silence_ns // 3)
        self._lifetime = Lifetime()
        self._subscriptions = Subscriptions(limits, natives)
        self._unacked: dict[str, int] = {}  # native → asked when (ns)
        self._unanswered: set[str] = set()  # asked once, and no answer named them
        self._silent: set[bytes] = set()  # acknowledged topics without a frame since `_listening_ns`
        self._listening_ns = self._heard_ns = self._pinged_ns = 0
        self._last_id = 0

    def opened(self, now: Nanos) -> Sequence[Event]:
        """Speaks at once: a connection without a subscription is cut after 30 s."""
        self._listening_ns = self._heard_ns = self._pinged_ns = now
        self._lifetime.begin(self._limits, self._subscriptions.wanted, now)
        return [*self._speak(now), *self._readiness()]

    def received(self, payload: bytes, now: Nanos) -> Sequence[Event]:
        """`KEEP` for deals after a look at the channel's name; text is parsed."""
        self._heard_ns = now
        if payload.startswith(_DEALS, _NAME_AT):
            if self._silent:
                self._silent.discard(payload[_NAME_AT : _NAME_AT + payload[1]])
            return KEEP
        if payload.startswith(b"{"):
            return self._control(payload)
        # Other channels are not asked for; what nobody understands is the mapper's to set aside.
        return NOTHING if payload.startswith(b"spot@", _NAME_AT) else KEEP

    def tick(self, now: Nanos) -> Sequence[Event]:
        """Sends what is due; judges silence, a ping without answer, missing acknowledgements and age."""
        if now - self._heard_ns >= self._silence_ns:
            return [Close(f"no frame for {self._limits.silence_s:g} s")]
        if self._heard_ns < self._pinged_ns <= now - _ANSWER_WITHIN_NS:
            return [Close("a PING was not answered for 10 s")]
        return [*self._overdue(now), *self._speak(now), *self._lifetime.judge(now)]

    def follow(self, natives: Collection[str], now: Nanos) -> Sequence[Event]:
        """Makes `natives` what is wanted; only the difference is sent."""
        self._subscriptions.want(natives)
        self._unanswered.intersection_update(natives)
        return [*self._speak(now), *self._readiness()]

    # ---- speaking --------------------------------------------------------------------------------

    def _speak(self, now: Nanos) -> Sequence[Event]:
        """At most one message: a ping that is due, what is unwanted, what is missing, what is silent."""
        if not self._pace.is_free(now):
            return NOTHING
        if now - self._pinged_ns >= self._ping_every_ns:
            self._pinged_ns = now
            return self._send({"method": "PING"}, now)
        if gone := self._subscriptions.drop():
            self._deafen(gone)
            return self._ask("UNSUBSCRIPTION", gone, now)
        if missing := self._subscriptions.missing():
            asked = [n for n in missing if n not in self._unanswered] or missing[:1]
            self._subscriptions.tell(asked)
            self._unacked.update(dict.fromkeys(asked, now))
            return self._ask("SUBSCRIPTION", asked, now)
        silent = self._heard_nothing_of(now)
        return self._ask("SUBSCRIPTION", silent, now) if silent else NOTHING

    def _heard_nothing_of(self, now: Nanos) -> Sequence[str]:
        """Every 20 s: the acknowledged natives for which nothing came in all this time."""
        if now - self._listening_ns < _LISTEN_NS:
            return ()
        acked = {_channel(n): n for n in self._subscriptions.told if n not in self._unacked}
        silent = [native for channel, native in acked.items() if channel in self._silent]
        self._silent, self._listening_ns = set(acked), now
        return silent

    def _ask(self, method: str, natives: Iterable[str], now: Nanos) -> Sequence[Event]:
        self._last_id += 1
        return self._send({"method": method, "params": [_TOPIC + n for n in natives], "id": self._last_id}, now)

    def _send(self, message: dict[str, Any], now: Nanos) -> Sequence[Event]:
        self._pace.spend(now)
        return [Send(msgspec.json.encode(message).decode())]

    # ---- hearing ---------------------------------------------------------------------------------

    def _control(self, payload: bytes) -> Sequence[Event]:
        try:
            said = _decode(payload)
        except (ValueError, RecursionError):
            return KEEP  # the mapper sets it aside, where people look for such frames
        text, has_failed = str(said.get("msg")), said.get("code", 0) != 0
        events: list[Event] = []
        for clause in _CLAUSES.split(text):
            named = [n for n in dict.fromkeys(_NAMED.findall(clause)) if n in self._subscriptions.told]
            if has_failed or clause.startswith("Not "):
                events += self._refuse(named, _reason(clause))
            else:
                for native in named:
                    self._unacked.pop(native, None)
        if has_failed and not events:
            return [Close(f"the venue says: {text[:200]}")]
        return [*events, *self._readiness()]

    def _overdue(self, now: Nanos) -> Sequence[Event]:
        """Answers that are missing although the venue speaks: ask again, the second time refuse.

        Surplus topics and topics that spoil the whole request are both left without an answer.
        """
        overdue = [n for n, at in self._unacked.items() if at < self._heard_ns and at <= now - _ANSWER_WITHIN_NS]
        twice = [n for n in overdue if n in self._unanswered]
        self._subscriptions.forget(overdue)
        self._deafen(overdue)
        self._unanswered.update(overdue)
        return [*self._refuse(twice, "left out of every answer"), *self._readiness()] if overdue else NOTHING

    def _refuse(self, natives: Collection[str], why: str) -> Sequence[Event]:
        self._deafen(natives)
        return self._subscriptions.refuse(natives, why)

    def _deafen(self, natives: Collection[str]) -> None:
        """Nothing is awaited of `natives` any more."""
        for native in natives:
            self._unacked.pop(native, None)
            self._silent.discard(_channel(native))

    def _readiness(self) -> Sequence[Event]:
        return self._subscriptions.readiness(is_waiting=bool(self._unacked))


def _channel(native: str) -> bytes:
    return (_TOPIC + native).encode()


def _reason(clause: str) -> str:
    found = _REASON.search(clause)
    return (found[1] if found else clause).strip()[:200]
