"""KuCoin's classic streams: token, welcome, topics, pings and limits, from its public documentation."""

from __future__ import annotations

import json
import random
import secrets
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from exchanges.kucoin.simulator_rest import DAY_S, INTERVALS_MS, PING_MS, PING_TIMEOUT_MS, RestAnswers
from exchanges.kucoin.simulator_rows import candle, match
from exchanges.simulation.connection import Connection
from exchanges.simulation.listing import Bar, Listing, Print
from exchanges.simulation.stage import Nonsense, Stage
from exchanges.simulation.tape import Tape

QUIRKS = frozenset({"hex_ids", "history_ids", "unknown_is_silent"})
"""Trade ids as in 2021; trade ids in histories, too; unknown symbols acknowledged instead of refused."""

MATCH, CANDLES = "/market/match", "/market/candles"
WELCOME_S = 0.1
MESSAGES, MESSAGES_WINDOW_S = 100, 10.0
CONNECTS, CONNECTS_WINDOW_S = 30, 60.0
SYMBOLS_PER_FRAME = 100
TOPICS_PER_SESSION = 400
CANDLES_EVERY_S = 1.0


@dataclass(slots=True, eq=False)
class Listener:
    """What KuCoin remembers of one connection; `is_over` when its last words were said."""

    id: str
    pinged_s: float
    topics: dict[str, None] = field(default_factory=dict)
    heard_s: deque[float] = field(default_factory=deque)
    is_welcome: bool = False
    is_over: bool = False


class Complaint(Exception):
    """An error frame that answers a client's message."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


class KuCoin:
    """The topics and answers of KuCoin."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._rest = RestAnswers(stage)
        self._audience: dict[str, dict[Connection, None]] = {}
        self._connects_s: deque[float] = deque()
        self._candles_s = stage.clock_s()
        self._shown: dict[str, tuple[int, int]] = {}

    # ---- REST --------------------------------------------------------------------------------

    def answer(self, request: web.Request) -> web.Response:
        return self._rest.answer(request)

    def refusal(self, status: int) -> web.Response:
        return self._rest.refusal(status)

    # ---- one connection ----------------------------------------------------------------------

    def opened(self, connection: Connection) -> None:
        query = connection.request.query
        listener = connection.notes = Listener(
            query.get("connectId") or secrets.token_hex(8), self._stage.clock_s()
        )
        if not self._rest.tokens.redeem(query.get("token", "")) or self._stage.spoils_token():
            self._end(connection, listener.id, 401, "token is invalid")
        elif not self._is_within(self._connects_s, CONNECTS, CONNECTS_WINDOW_S):
            self._end(connection, listener.id, 509, "service busy, please retry later")

    def received(self, connection: Connection, text: str) -> None:
        listener: Listener = connection.notes
        if listener.is_over:
            return
        try:
            asked = json.loads(text)
            number = str(asked.get("id", ""))
        except (ValueError, AttributeError):
            self._complain(connection, listener.id, 415, "command type is invalid")
            return
        if not self._is_within(listener.heard_s, MESSAGES, MESSAGES_WINDOW_S):
            self._end(connection, number, 509, "exceed max permits per second")
        elif not listener.is_welcome:  # stricter than KuCoin, which read early frames in 2021
            self._end(connection, number, 400, "topic is invalid")
        else:
            try:
                self._obey(connection, number, asked)
            except Complaint as complaint:
                self._complain(connection, number, complaint.code, complaint.text)

    def ponged(self, connection: Connection, is_ping: bool) -> None:
        """Control frames do not replace the client's own pings."""

    def closed(self, connection: Connection) -> None:
        for topic in list(getattr(connection.notes, "topics", ())):
            self._leave(connection, topic)

    def _is_within(self, moments_s: deque[float], limit: int, window_s: float) -> bool:
        """Whether one more is allowed now; counts it."""
        moments_s.append(self._stage.clock_s())
        while self._stage.is_over(moments_s[0], window_s):
            moments_s.popleft()
        return len(moments_s) <= limit

    def _complain(self, connection: Connection, number: str, code: int, text: str) -> None:
        _say(connection, {"id": number, "type": "error", "code": code, "data": text})

    def _end(self, connection: Connection, number: str, code: int, text: str) -> None:
        connection.notes.is_over = True
        self._complain(connection, number, code, text)
        connection.close(1000, "Bye")

    def _obey(self, connection: Connection, number: str, asked: dict[str, Any]) -> None:
        listener: Listener = connection.notes
        kind = asked.get("type")
        if kind == "ping":
            listener.pinged_s = self._stage.clock_s()
            _say(connection, {"id": number, "type": "pong", "timestamp": self._stage.now_us() // 1000})
            return
        if kind not in ("subscribe", "unsubscribe"):
            raise Complaint(415, "command type is invalid")
        if asked.get("privateChannel"):
            raise Complaint(403, "login is required")
        topics = self._topics(asked.get("topic"))
        if kind == "subscribe":
            if len(listener.topics.keys() | set(topics)) > TOPICS_PER_SESSION:
                limit = f"exceed max subscription count limitation of {TOPICS_PER_SESSION} per session"
                raise Complaint(509, limit)
            for topic in topics:
                self._join(connection, topic)
        else:
            for topic in topics:
                self._leave(connection, topic)
        if asked.get("response"):
            _say(connection, {"id": number, "type": "ack"})

    def _topics(self, asked: Any) -> list[str]:
        """The single topics of a comma list; one unknown symbol among them and all are refused."""
        if not isinstance(asked, str) or not asked:
            raise Complaint(406, "topic is required")
        channel, _, subjects = asked.partition(":")
        if channel not in (MATCH, CANDLES):
            raise Complaint(404, f"topic {asked} is not found")
        names = subjects.split(",")
        if not all(names):
            raise Complaint(400, "topic is invalid")
        if len(names) > SYMBOLS_PER_FRAME:
            raise Complaint(509, f"exceed max subscription count limitation of {SYMBOLS_PER_FRAME} per time")
        topics = [f"{channel}:{name}" for name in names]
        known = [topic for topic in topics if self._is_known(topic)]
        if len(known) < len(topics) and not self._stage.has("unknown_is_silent"):
            raise Complaint(404, f"topic {asked} is not found")
        return known

    def _is_known(self, topic: str) -> bool:
        channel, _, name = topic.partition(":")
        if channel == MATCH:
            return self._stage.tape(name) is not None
        native, _, interval = name.partition("_")
        return self._stage.tape(native) is not None and interval in INTERVALS_MS

    def _join(self, connection: Connection, topic: str) -> None:
        if topic.startswith(CANDLES) and topic not in self._shown:
            self._shown[topic] = _seen(self._bars(topic)[-1])
        connection.notes.topics[topic] = None
        if not self._stage.loses_topic():
            self._audience.setdefault(topic, {})[connection] = None

    def _leave(self, connection: Connection, topic: str) -> None:
        connection.notes.topics.pop(topic, None)
        audience = self._audience.get(topic, {})
        audience.pop(connection, None)
        if not audience:
            self._audience.pop(topic, None)
            self._shown.pop(topic, None)

    # ---- market data -------------------------------------------------------------------------

    def traded(self, tape: Tape, prints: Sequence[Print]) -> None:
        """One frame per execution: a sweep is a burst with one time and one taker."""
        topic = f"{MATCH}:{tape.listing.native}"
        if topic in self._audience:
            for p in prints:
                for i in range(len(p.parts)):
                    self._tell(topic, "trade.l3match", self._match(tape.listing, p, i), is_trade=True)

    def _match(self, x: Listing, p: Print, index: int) -> dict[str, Any]:
        return match(x, p, index, has_hex_id=self._stage.has("hex_ids"))

    def _tell(self, topic: str, subject: str, content: dict[str, Any], *, is_trade: bool = False) -> None:
        text = _text({"type": "message", "topic": topic, "subject": subject, "data": content})
        for connection in self._audience.get(topic, ()):
            connection.send(text, is_trade=is_trade)

    def flush(self) -> None:
        """Nothing is held back."""

    # ---- time --------------------------------------------------------------------------------

    def tick(self) -> None:
        for connection in list(self._stage.connections):
            if isinstance(connection.notes, Listener) and not connection.notes.is_over:
                self._keep_alive(connection, connection.notes)
        if self._stage.clock_s() - self._candles_s >= CANDLES_EVERY_S:
            self._candles_s = self._stage.clock_s()
            for topic in [t for t in self._audience if t.startswith(CANDLES)]:
                self._show_candles(topic)

    def _keep_alive(self, connection: Connection, listener: Listener) -> None:
        is_over, options = self._stage.is_over, self._stage.options
        lifetime_s = DAY_S * options.scale if options.lifetime_s is None else options.lifetime_s
        if not listener.is_welcome and is_over(connection.opened_s, WELCOME_S):
            listener.is_welcome = True
            _say(connection, {"id": listener.id, "type": "welcome"})
        if self._stage.clock_s() - connection.opened_s >= lifetime_s:
            listener.is_over = True
            connection.close(1000, "Bye")
        elif is_over(listener.pinged_s, (PING_MS + PING_TIMEOUT_MS) / 1000):
            self._end(connection, listener.id, 400, "ping timeout")

    def announce_end(self) -> None:
        """KuCoin sends no notice; the connections end."""
        for connection in self._stage.connections:
            connection.close(1000, "Bye")

    def _bars(self, topic: str) -> list[Bar]:
        """The candle of the running interval and the one before it."""
        length_ms = INTERVALS_MS[topic.rpartition("_")[2]]
        now_ms = self._stage.now_us() // 1000
        return list(self._tape(topic).bars(length_ms, now_ms - 2 * length_ms + 1, now_ms, now_ms))

    def _tape(self, topic: str) -> Tape:
        native = topic.rpartition(":")[2].partition("_")[0]
        return self._stage.market.tape(self._stage.slug, native)

    def _show_candles(self, topic: str) -> None:
        """What changed since the last time; an interval without trades is told flat with the next trade."""
        before, running = self._bars(topic)
        x = self._tape(topic).listing
        shown = self._shown.get(topic, (0, 0))
        changed = [bar for bar in (before, running) if bar.trades and _seen(bar) > shown]
        if changed == [running] and not before.trades and before.open_ms > shown[0]:
            changed.insert(0, before)
        for bar in changed:
            subject = "trade.candles.update" if bar.open_ms == shown[0] and shown[1] else "trade.candles.add"
            self._shown[topic] = _seen(bar)
            content = {"symbol": x.native, "candles": candle(x, bar)}
            self._tell(topic, subject, content | {"time": self._stage.now_us() * 1000})

    # ---- faults ------------------------------------------------------------------------------

    def nonsense(self, kind: Nonsense) -> str | bytes:
        x = self._stage.listings[0]
        content = self._match(x, Print(1, 1, 1, self._stage.now_us(), x.tick_units, x.lot_units, True, (1,)), 0)
        if kind is Nonsense.UNKNOWN_SYMBOL:
            content["symbol"] = "NOSUCH-USDT"
        elif kind is Nonsense.HUGE_NUMBER:
            content["price"] = "1e400"
        topic = f"{MATCH}:{content['symbol']}"
        text = _text({"type": "message", "topic": topic, "subject": "trade.l3match", "data": content})
        if kind is Nonsense.BINARY:
            return random.Random(7).randbytes(64)  # noqa: S311 - bytes that mean nothing
        return text[: len(text) // 2] if kind is Nonsense.MALFORMED else text

    def playback_reply(self, text: str) -> str | None:
        """The recordings hold KuCoin's own acknowledgements."""
        return None


def _seen(bar: Bar) -> tuple[int, int]:
    """Grows whenever there is something to tell."""
    return bar.open_ms, bar.trades


def _say(connection: Connection, frame: dict[str, Any]) -> None:
    connection.send(_text(frame))


def _text(frame: dict[str, Any]) -> str:
    return json.dumps(frame, separators=(",", ":"))
