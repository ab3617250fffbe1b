"""One Coinbase Advanced Trade connection's conversation; pure.

    {"type":"subscribe","product_ids":["BTC-USD"],"channel":"market_trades"}
    ->  {"channel":"subscriptions","timestamp":"…","sequence_num":1,
         "events":[{"subscriptions":{"market_trades":["BTC-USD"],"heartbeats":["heartbeats"]}}]}

An acknowledgement lists all that is subscribed; unknown products are silently left out of it. Every frame
of every channel counts `sequence_num` up by one, from 0 on each connection.
https://docs.cdp.coinbase.com/advanced-trade/docs/ws-overview
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

import msgspec

from exchanges.pacing import SECOND, Lifetime, Pace
from exchanges.subscribing import Subscriptions
from exchanges.venue import KEEP, NOTHING, Close, Event, Limits, Lost, Send
from livermore.core.errors import RemoteProtocolError
from livermore.core.trade import Nanos

_PRODUCTS_PER_FRAME = 100
_ACK_WITHIN_NS = 10 * SECOND
_HEARTBEAT_WITHIN_NS = 5 * SECOND

_OLD_WITHIN = 10_000
"""A number that is lower by no more is an old frame's; by more, the venue counts anew."""
_SEQUENCE = b'"sequence_num":'
_PRODUCT = re.compile(r"[A-Z0-9]+-[A-Z0-9-]+")

_decode = msgspec.json.Decoder().decode


class _State(msgspec.Struct):
    subscriptions: dict[str, list[str]]


class _Acknowledgement(msgspec.Struct):
    events: list[_State]


_acknowledgement = msgspec.json.Decoder(_Acknowledgement).decode


class CoinbaseSession:
    """Subscribes to heartbeats and to `market_trades` of the natives, and watches both.

    What is sent follows from the difference between what is wanted and what the venue was told, so
    `follow` may be called at any time. `sign` gives the token that goes with each message, where the operator has
    a key. `pace` is shared by connections that the venue counts together. Raises `LocalProtocolError` when given
    more natives than a connection carries.
    """

    def __init__(
        self,
        limits: Limits,
        natives: Collection[str],
        *,
        sign: Callable[[Nanos], str] | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._limits = limits
        self._sign = sign
        self._pace = pace or Pace(limits.messages_per_second)
        self._silence_ns = int(limits.silence_s * SECOND)
        self._lifetime = Lifetime()
        self._subscriptions = Subscriptions(limits, natives)
        self._unacked: dict[str, int] = {}  # product → since when (ns)
        self._sequence = 0  # the next to come
        self._heard_ns = self._beat_ns = self._acked_ns = 0
        self._has_asked_heartbeats = self._has_heartbeats = False

    def opened(self, now: Nanos) -> Sequence[Event]:
        """Speaks at once: the venue cuts connections that do not subscribe within 5 s."""
        self._heard_ns = now
        self._beat_ns = now + _HEARTBEAT_WITHIN_NS  # the first one may take as long again
        self._lifetime.begin(self._limits, self._subscriptions.wanted, now)
        return self._speak(now)

    def received(self, payload: bytes, now: Nanos) -> Sequence[Event]:
        """`KEEP` for trades after a look at prefix and number; control frames are parsed."""
        self._heard_ns = now
        if payload.startswith(b'{"channel":"market_trades"'):
            events = KEEP
        elif payload.startswith(b'{"channel":"heartbeats"'):
            self._beat_ns = max(self._beat_ns, now)
            events = NOTHING
        elif payload.startswith(b'{"channel":"') and not payload.startswith(b"subscriptions", 12):
            events = NOTHING  # books run to megabytes: never parsed here
        else:
            events = self._control(payload, now)
        begin = payload.find(_SEQUENCE)
        if begin < 0:
            return events
        try:
            number = int(payload[begin + 15 : begin + 36].split(b",", 1)[0].rstrip(b"}] \r\n"))
        except ValueError:
            return events
        expected = self._sequence
        if 0 < expected - number <= _OLD_WITHIN:
            return events  # it came twice or late: that it was missing has been told
        self._sequence = number + 1
        return events if number == expected else [Lost(f"frame {number} after {expected - 1}"), *events]

    def tick(self, now: Nanos) -> Sequence[Event]:
        """Sends what is due; judges heartbeats, missing acknowledgements and age."""
        if now - self._heard_ns >= self._silence_ns:
            return [Close(f"no frame for {self._limits.silence_s:g} s")]
        if now - self._beat_ns > _HEARTBEAT_WITHIN_NS:
            return [Close("no heartbeat for 5 s")]
        events = list(self._speak(now))
        if overdue := tuple(n for n, since in self._unacked.items() if now - since >= _ACK_WITHIN_NS):
            if self._acked_ns < max(self._unacked[n] for n in overdue):
                return [Close("a subscription was not acknowledged for 10 s")]
            events += [*self._refuse(overdue, "left out of the acknowledgement"), *self._readiness()]
        return [*events, *self._lifetime.judge(now)]

    def follow(self, natives: Collection[str], now: Nanos) -> Sequence[Event]:
        """Makes `natives` what is wanted; only the difference is sent."""
        self._subscriptions.want(natives)
        return [*self._speak(now), *self._readiness()]

    def _speak(self, now: Nanos) -> Sequence[Event]:
        """At most one message: heartbeats first, then what is unwanted, then what is missing."""
        if not self._pace.is_free(now):
            return NOTHING
        if not self._has_asked_heartbeats:
            self._has_asked_heartbeats = True
            return self._send({"type": "subscribe", "channel": "heartbeats"}, now)
        if gone := self._subscriptions.drop(_PRODUCTS_PER_FRAME):
            for native in gone:
                self._unacked.pop(native, None)
            return self._send({"type": "unsubscribe", "product_ids": gone, "channel": "market_trades"}, now)
        if added := self._subscriptions.add(_PRODUCTS_PER_FRAME):
            self._unacked.update(dict.fromkeys(added, now))
            return self._send({"type": "subscribe", "product_ids": added, "channel": "market_trades"}, now)
        return NOTHING

    def _send(self, message: dict[str, Any], now: Nanos) -> Sequence[Event]:
        self._pace.spend(now)
        if self._sign is not None:
            message["jwt"] = self._sign(now)
        return [Send(msgspec.json.encode(message).decode())]

    def _control(self, payload: bytes, now: Nanos) -> Sequence[Event]:
        try:
            said = _decode(payload)
        except (ValueError, RecursionError):
            return KEEP  # the mapper sets it aside, where people look for such frames
        if not isinstance(said, dict):
            return KEEP
        if said.get("type") == "error":
            return self._error(str(said.get("message", "")))
        match said.get("channel"):
            case "market_trades":
                return KEEP
            case "heartbeats":
                self._beat_ns = max(self._beat_ns, now)
            case "subscriptions":
                return self._acknowledged(payload, now)
        return NOTHING

    def _acknowledged(self, payload: bytes, now: Nanos) -> Sequence[Event]:
        """The whole state as the venue sees it; an empty one occurs and says nothing."""
        try:
            states = _acknowledgement(payload).events
        except ValueError as error:
            raise RemoteProtocolError(f"an acknowledgement of another shape: {error}") from None
        state = {channel: names for each in states for channel, names in each.subscriptions.items()}
        if not state:
            return NOTHING
        self._acked_ns = now
        self._has_heartbeats = self._has_heartbeats or "heartbeats" in state
        served = set(state.get("market_trades", ()))
        for native in self._subscriptions.told:
            if native in served:
                self._unacked.pop(native, None)
            else:
                self._unacked.setdefault(native, now)
        return self._readiness()

    def _error(self, message: str) -> Sequence[Event]:
        """Errors name no request: what names our products refuses them, anything else ends it."""
        named = tuple(n for n in dict.fromkeys(_PRODUCT.findall(message)) if n in self._subscriptions.told)
        if named:
            return [*self._refuse(named, message), *self._readiness()]
        return [Close(f"the venue says: {message[:200]}")]

    def _refuse(self, natives: tuple[str, ...], why: str) -> Sequence[Event]:
        for native in natives:
            self._unacked.pop(native, None)
        return self._subscriptions.refuse(natives, why)

    def _readiness(self) -> Sequence[Event]:
        """Heartbeats count where nothing else is wanted."""
        is_bare = not self._subscriptions.wanted and not self._has_heartbeats
        return self._subscriptions.readiness(is_waiting=bool(self._unacked) or is_bare)
