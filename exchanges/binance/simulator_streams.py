"""Binance's streams: subscriptions, market data, pings and limits, from its public documentation."""

from __future__ import annotations

import json
import random
import re
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from exchanges.binance.simulator_rest import INTERVALS_MS, RestAnswers, RestDialect
from exchanges.binance.simulator_rows import aggregate, kline_row, price_text, quantity_text
from exchanges.simulation.connection import Connection
from exchanges.simulation.listing import Listing, Print
from exchanges.simulation.stage import Nonsense, Stage
from exchanges.simulation.tape import Tape

MESSAGES_PER_S = 5
TOO_FAST = 1008
MAX_STREAMS = 1024
KLINE_EVERY_S = 2.0
CLOSE_LAG_MS = 1_755  # how late a quiet market's final kline frame was captured
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Dialect:
    """Where the venues of this family differ."""

    ping_every_s: float
    pong_within_s: float
    is_id_allowed: Callable[[Any], bool]
    id_complaint: str
    has_order_ids: bool
    rest: RestDialect


@dataclass(slots=True, eq=False)
class Listener:
    """What Binance remembers of one connection."""

    pinged_s: float
    streams: dict[str, None] = field(default_factory=dict)
    is_combined: bool = False
    heard_s: deque[float] = field(default_factory=deque)
    waits_since_s: float | None = None


class BinanceLike:
    """The streams and answers of one venue of this family."""

    def __init__(self, stage: Stage, dialect: Dialect) -> None:
        self._stage = stage
        self._dialect = dialect
        self._rest = RestAnswers(stage, dialect.rest)
        self._audience: dict[str, dict[Connection, None]] = {}
        self._klines_s = self._stage.clock_s()
        self._shown: dict[str, tuple[int, int]] = {}

    # ---- REST --------------------------------------------------------------------------------

    def answer(self, request: web.Request) -> web.Response:
        return self._rest.answer(request)

    def refusal(self, status: int) -> web.Response:
        return self._rest.refusal(status)

    # ---- one connection ----------------------------------------------------------------------

    def opened(self, connection: Connection) -> None:
        path = connection.request.path
        listener = connection.notes = Listener(self._stage.clock_s(), is_combined=path.startswith("/stream"))
        named = connection.request.query.get("streams", "") if listener.is_combined else path.removeprefix("/ws")
        streams = [s for s in named.strip("/").split("/") if s]
        if len(streams) > MAX_STREAMS:
            connection.close(TOO_FAST, "Too many streams")
            return
        for stream in streams:
            self._join(connection, stream)

    def received(self, connection: Connection, text: str) -> None:
        if not self._is_patient(connection):
            return
        reply = self._reply(connection, text)
        connection.send(json.dumps(reply, separators=(",", ":")))

    def ponged(self, connection: Connection, is_ping: bool) -> None:
        if not is_ping:
            connection.notes.waits_since_s = None
        self._is_patient(connection)

    def closed(self, connection: Connection) -> None:
        for stream in list(getattr(connection.notes, "streams", ())):
            self._leave(connection, stream)

    def _is_patient(self, connection: Connection) -> bool:
        """Five messages of any kind a second; more and the connection is cut."""
        heard, now_s = connection.notes.heard_s, self._stage.clock_s()
        heard.append(now_s)
        while heard and now_s - heard[0] >= 1.0:
            heard.popleft()
        if len(heard) > MESSAGES_PER_S:
            connection.close(TOO_FAST, "Too many requests")
            return False
        return True

    def _reply(self, connection: Connection, text: str) -> dict[str, Any]:
        try:
            asked = json.loads(text)
        except ValueError:
            return {"code": 3, "msg": "Invalid JSON: expected value at line 1 column 1"}
        if not isinstance(asked, dict):
            return {"code": 2, "msg": "Invalid request: request must be an object"}
        number = asked.get("id")
        if not self._dialect.is_id_allowed(number):
            return {"code": 2, "msg": self._dialect.id_complaint}
        try:
            return self._obey(connection, asked.get("method"), asked.get("params"), number)
        except ValueError as error:
            return {"code": 2, "msg": f"Invalid request: {error}", "id": number}

    def _obey(self, connection: Connection, method: Any, params: Any, number: Any) -> dict[str, Any]:
        listener: Listener = connection.notes
        if method == "LIST_SUBSCRIPTIONS":
            return {"result": list(listener.streams), "id": number}
        if not isinstance(params, list):
            raise ValueError("params must be an array")
        if method in ("SET_PROPERTY", "GET_PROPERTY"):
            return self._property(listener, method, params, number)
        if method not in ("SUBSCRIBE", "UNSUBSCRIBE"):
            raise ValueError(f"unknown variant `{method}`")
        if not all(isinstance(p, str) and "@" in p for p in params):
            raise ValueError("invalid stream name")
        if method == "UNSUBSCRIBE":
            for stream in params:
                self._leave(connection, stream)
        elif len(listener.streams.keys() | set(params)) > MAX_STREAMS:
            return {"error": {"code": 4, "msg": "Too many subscriptions"}, "id": number}
        else:
            for stream in params:
                self._join(connection, stream)
        return {"result": None, "id": number}

    def _property(self, listener: Listener, method: str, params: list[Any], number: Any) -> dict[str, Any]:
        if params[:1] != ["combined"]:
            return {"code": 0, "msg": f"Unknown property: {params[:1]}", "id": number}
        if method == "GET_PROPERTY":
            return {"result": listener.is_combined, "id": number}
        if len(params) != 2 or not isinstance(params[1], bool):
            return {"code": 1, "msg": "Invalid value type: expected Boolean", "id": number}
        listener.is_combined = params[1]
        return {"result": None, "id": number}

    def _join(self, connection: Connection, stream: str) -> None:
        connection.notes.streams[stream] = None
        if self._stage.loses_topic():
            return
        self._audience.setdefault(stream, {})[connection] = None

    def _leave(self, connection: Connection, stream: str) -> None:
        connection.notes.streams.pop(stream, None)
        audience = self._audience.get(stream, {})
        audience.pop(connection, None)
        if not audience:
            self._audience.pop(stream, None)

    # ---- market data -------------------------------------------------------------------------

    def traded(self, tape: Tape, prints: Sequence[Print]) -> None:
        x = tape.listing
        name = x.native.lower()
        for stream, describe in (
            (f"{name}@aggTrade", self._aggregate),
            (f"{name}@trade", self._trades),
            (f"{name}@bookTicker", self._touch),
        ):
            if stream in self._audience:
                for p in prints:
                    for event in describe(x, p):
                        self._tell(stream, event)

    def _aggregate(self, x: Listing, p: Print) -> list[dict[str, Any]]:
        row = aggregate(x, p)
        event_ms = max(self._stage.now_us() // 1000, row["T"])
        return [{"e": "aggTrade", "E": event_ms, "s": x.native, **row}]

    def _trades(self, x: Listing, p: Print) -> list[dict[str, Any]]:
        time_ms = p.time_us // 1000
        head = {"e": "trade", "E": max(self._stage.now_us() // 1000, time_ms), "s": x.native}
        events = []
        for i, part in enumerate(p.parts):
            number = p.first + i
            event = head | {"t": number, "p": price_text(x, p.price), "q": quantity_text(x, part)}
            if self._dialect.has_order_ids:
                event |= {"b": 2 * number + p.is_buy, "a": 2 * number + 1 - p.is_buy}
            events.append(event | {"T": time_ms, "m": not p.is_buy, "M": True})
        return events

    def _touch(self, x: Listing, p: Print) -> list[dict[str, Any]]:
        size = quantity_text(x, 10 * x.lot_units)
        bid, ask = (p.price - x.tick_units, p.price) if p.is_buy else (p.price, p.price + x.tick_units)
        return [{"u": p.last, "s": x.native, "b": price_text(x, bid), "B": size, "a": price_text(x, ask), "A": size}]

    def _tell(self, stream: str, event: dict[str, Any]) -> None:
        raw = json.dumps(event, separators=(",", ":"))
        wrapped = f'{{"stream":"{stream}","data":{raw}}}'
        for connection in self._audience.get(stream, ()):
            connection.send(wrapped if connection.notes.is_combined else raw, is_trade="@kline" not in stream)

    def flush(self) -> None:
        """Nothing is held back."""

    # ---- time --------------------------------------------------------------------------------

    def tick(self) -> None:
        for connection in list(self._stage.connections):
            if isinstance(connection.notes, Listener):
                self._keep_alive(connection)
        if self._stage.clock_s() - self._klines_s >= KLINE_EVERY_S:
            self._klines_s = self._stage.clock_s()
            for stream in list(self._audience):
                self._show_klines(stream)

    def _keep_alive(self, connection: Connection) -> None:
        listener, is_over = connection.notes, self._stage.is_over
        options = self._stage.options
        now_s = self._stage.clock_s()
        lifetime_s = options.lifetime_s if options.lifetime_s is not None else DAY_S * options.scale
        if now_s - connection.opened_s >= lifetime_s:
            connection.opened_s = now_s + DAY_S
            connection.close(1001, "24h")
        elif listener.waits_since_s and is_over(listener.waits_since_s, self._dialect.pong_within_s):
            listener.waits_since_s = None
            connection.abort()
        elif is_over(listener.pinged_s, self._dialect.ping_every_s):
            listener.pinged_s = now_s
            listener.waits_since_s = listener.waits_since_s or now_s
            connection.ping(str(self._stage.now_us() // 1000).encode())

    def announce_end(self) -> None:
        event = {"e": "serverShutdown", "E": self._stage.now_us() // 1000}
        raw = json.dumps(event, separators=(",", ":"))
        for connection in self._stage.connections:
            is_combined = connection.notes.is_combined
            connection.send(f'{{"stream":"!serverShutdown","data":{raw}}}' if is_combined else raw)

    def _show_klines(self, stream: str) -> None:
        matched = re.fullmatch(r"([^@]+)@kline_(\w+)", stream)
        length_ms = INTERVALS_MS.get(matched[2]) if matched else None
        tape = self._stage.tape(matched[1].upper()) if matched else None
        if matched is None or tape is None or length_ms is None:
            return
        now_ms = self._stage.now_us() // 1000
        for bar in tape.bars(length_ms, now_ms - CLOSE_LAG_MS - length_ms + 1, now_ms, now_ms):
            is_final = bar.open_ms + length_ms <= now_ms - CLOSE_LAG_MS
            seen = (bar.open_ms, bar.trades + (1 << 40) * is_final)
            if seen > self._shown.get(stream, (0, -1)):
                self._shown[stream] = seen
                row = kline_row(tape.listing, bar, length_ms)
                ids = {"f": bar.first, "L": bar.last}
                self._tell(stream, self._kline(tape.listing, matched[2], ids, row, is_final))

    def _kline(
        self, x: Listing, interval: str, ids: dict[str, int], row: list[Any], is_final: bool
    ) -> dict[str, Any]:
        k = {"t": row[0], "T": row[6], "s": x.native, "i": interval, **ids, "o": row[1], "c": row[4]}
        k |= {"h": row[2], "l": row[3], "v": row[5], "n": row[8], "x": is_final, "q": row[7], "V": row[9], "Q": row[10]}
        return {"e": "kline", "E": self._stage.now_us() // 1000, "s": x.native, "k": k | {"B": "0"}}

    # ---- faults ------------------------------------------------------------------------------

    def nonsense(self, kind: Nonsense) -> str | bytes:
        x = self._stage.listings[0]
        event = self._aggregate(x, Print(1, 1, 1, self._stage.now_us(), x.tick_units, x.lot_units, True, (1,)))[0]
        if kind is Nonsense.UNKNOWN_SYMBOL:
            event["s"] = "NOSUCHUSDT"
        text = json.dumps({"stream": f"{event['s'].lower()}@aggTrade", "data": event}, separators=(",", ":"))
        if kind is Nonsense.HUGE_NUMBER:
            return text.replace(f'"p":"{event["p"]}"', '"p":"1e400"')
        if kind is Nonsense.BINARY:
            return random.Random(7).randbytes(64)  # noqa: S311 - bytes that mean nothing
        return text[: len(text) // 2] if kind is Nonsense.MALFORMED else text

    def playback_reply(self, text: str) -> str | None:
        try:
            number = json.loads(text)["id"]
        except (ValueError, KeyError, TypeError):
            return None
        return json.dumps({"result": None, "id": number}, separators=(",", ":"))
