"""MEXC's streams: text control frames, binary data, silent limits, from its public documentation."""

from __future__ import annotations

import json
import random
import re
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from exchanges.mexc.simulator_rest import INTERVALS_MS, RestAnswers
from exchanges.mexc.simulator_rows import amount_text, price_text, quantity_text
from exchanges.mexc.simulator_wire import Value, deals_frame, kline_frame
from exchanges.mexc.simulator_wire import field as wire_field
from exchanges.simulation.connection import Connection
from exchanges.simulation.listing import Bar, Listing, Print
from exchanges.simulation.stage import Nonsense, Stage
from exchanges.simulation.tape import Tape

QUIRKS = frozenset({"no_trade_ids", "unknown_field", "omits_idle"})
"""Deals as before 2026-06; a field that no schema knows; REST without intervals that had no trades."""

DEALS = re.compile(r"spot@public\.aggre\.deals\.v3\.api\.pb@(10|100)ms@(\w+)")
KLINE = re.compile(r"spot@public\.kline\.v3\.api\.pb@(\w+)@(\w+)")
SPANS = {"Min5": "5m", "Min15": "15m", "Min30": "30m", "Min60": "60m", "Hour4": "4h", "Day1": "1d"}
RATES_MS = (10, 100)
TOPICS_PER_CONNECTION = 30
MESSAGES_PER_S = 100
NO_TOPIC_S, NO_DATA_S, DAY_S = 30.0, 60.0, 86_400.0
KLINES_EVERY_S = 1.0


@dataclass(slots=True, eq=False)
class Listener:
    """What MEXC remembers of one connection; data and pings of the client move `heard_s`."""

    heard_s: float
    topicless_s: float
    topics: dict[str, None] = field(default_factory=dict)
    asked_s: deque[float] = field(default_factory=deque)
    is_over: bool = False


class Mexc:
    """The topics and answers of MEXC."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._rest = RestAnswers(stage)
        self._audience: dict[str, dict[Connection, None]] = {}
        self._pending: dict[int, dict[Tape, list[Print]]] = {rate_ms: {} for rate_ms in RATES_MS}
        self._window: dict[int, int] = dict.fromkeys(RATES_MS, 0)
        self._klines_s = self._stage.clock_s()
        self._shown: dict[str, tuple[int, int]] = {}

    # ---- REST --------------------------------------------------------------------------------

    def answer(self, request: web.Request) -> web.Response:
        return self._rest.answer(request)

    def refusal(self, status: int) -> web.Response:
        return self._rest.refusal(status)

    # ---- one connection ----------------------------------------------------------------------

    def opened(self, connection: Connection) -> None:
        connection.notes = Listener(now_s := self._stage.clock_s(), now_s)

    def received(self, connection: Connection, text: str) -> None:
        listener: Listener = connection.notes
        now_s = self._stage.clock_s()
        listener.asked_s.append(now_s)
        while now_s - listener.asked_s[0] >= 1.0:
            listener.asked_s.popleft()
        if len(listener.asked_s) > MESSAGES_PER_S:
            connection.abort()
            return
        try:
            asked = json.loads(text)
            method, params = asked["method"], [str(p) for p in asked.get("params") or ()]
        except (ValueError, KeyError, TypeError, AttributeError):
            connection.send(_said("Msg Format invalid"))
            return
        if method == "PING":
            listener.heard_s = now_s
            connection.send(_said("PONG"))
        elif method == "SUBSCRIPTION":
            self._subscribe(connection, params)
        elif method == "UNSUBSCRIPTION":
            self.flush()
            for topic in params:
                self._leave(connection, topic)
            connection.send(_said(",".join(params)))
        else:
            connection.send(_said("Msg Format invalid"))

    def ponged(self, connection: Connection, is_ping: bool) -> None:
        """Control frames mean nothing here."""

    def closed(self, connection: Connection) -> None:
        for topic in list(getattr(connection.notes, "topics", ())):
            self._leave(connection, topic)

    def _subscribe(self, connection: Connection, topics: list[str]) -> None:
        """One text for the whole request, its code 0 whatever it says; the surplus is not even mentioned."""
        self.flush()  # what was traded before belongs to the earlier listeners only
        refusals = {t: reason for t in topics if (reason := self._refusal_of(t))}
        taken = [t for t in topics if t not in refusals]
        if not refusals:
            connection.send(_said(",".join(taken)))
        else:
            head = f"Subscribed successful! [{','.join(taken)}]. " if taken else ""
            reason = next(iter(refusals.values()))
            connection.send(_said(f"{head}Not Subscribed successfully! [{','.join(refusals)}].  Reason： {reason}"))
        for topic in taken:
            self._join(connection, topic)

    def _refusal_of(self, topic: str) -> str:
        """Why a topic is not served; empty when it is."""
        deals, kline = DEALS.fullmatch(topic), KLINE.fullmatch(topic)
        name = deals[2] if deals else kline[1] if kline else ""
        if name != name.upper():
            return "Msg Format invalid"
        is_served = self._stage.tape(name) is not None and (deals or (kline and kline[2] in SPANS))
        return "" if is_served else "Blocked! "

    def _join(self, connection: Connection, topic: str) -> None:
        listener: Listener = connection.notes
        if topic not in listener.topics and len(listener.topics) >= TOPICS_PER_CONNECTION:
            return
        listener.topics[topic] = None
        listener.heard_s = self._stage.clock_s()
        if self._stage.loses_topic():
            return
        self._audience.setdefault(topic, {})[connection] = None
        if KLINE.fullmatch(topic):
            running = self._bars(topic)[-1]
            self._shown.setdefault(topic, (running.open_ms, running.trades))
            self._tell([connection], self._kline(topic, running))

    def _leave(self, connection: Connection, topic: str) -> None:
        listener: Listener = connection.notes
        listener.topics.pop(topic, None)
        if not listener.topics:
            listener.topicless_s = self._stage.clock_s()
        audience = self._audience.get(topic, {})
        audience.pop(connection, None)
        if not audience:
            self._audience.pop(topic, None)
            self._shown.pop(topic, None)

    def _tell(self, connections: Iterable[Connection], frame: bytes, *, is_trade: bool = False) -> None:
        if self._stage.has("unknown_field"):
            frame += wire_field(999, "new")
        for connection in connections:
            connection.notes.heard_s = self._stage.clock_s()
            connection.send(frame, is_trade=is_trade)

    # ---- deals -------------------------------------------------------------------------------

    def traded(self, tape: Tape, prints: Sequence[Print]) -> None:
        for rate_ms in RATES_MS:
            if _deals_topic(rate_ms, tape.listing.native) in self._audience:
                self._pending[rate_ms].setdefault(tape, []).extend(prints)

    def flush(self) -> None:
        for rate_ms in RATES_MS:
            self._push(rate_ms)

    def _push(self, rate_ms: int) -> None:
        """Send what was collected: one frame per market and window."""
        pending, self._pending[rate_ms] = self._pending[rate_ms], {}
        for tape, prints in pending.items():
            windows: dict[int, list[Print]] = {}
            for p in prints:
                windows.setdefault(p.time_us // (1000 * rate_ms), []).append(p)
            x = tape.listing
            topic = _deals_topic(rate_ms, x.native)
            hearers = self._audience.get(topic, ())
            for window in windows.values() if hearers else ():
                deals = [self._deal(x, p, i) for p in window for i in range(len(p.parts))]
                sent_ms = max(self._stage.now_us(), window[-1].time_us) // 1000
                self._tell(hearers, deals_frame(topic, x.native, sent_ms, deals), is_trade=True)

    def _deal(self, x: Listing, p: Print, index: int) -> list[tuple[int, Value]]:
        number = "" if self._stage.has("no_trade_ids") else trade_id(p.first + index)
        price, quantity = price_text(x, p.price), quantity_text(x, p.parts[index])
        return [(1, price), (2, quantity), (3, 1 if p.is_buy else 2), (4, p.time_us // 1000), (5, number)]

    # ---- klines ------------------------------------------------------------------------------

    def _bars(self, topic: str) -> list[Bar]:
        """The kline of the running window and the one before it."""
        native, span = topic.split("@")[2:]
        tape, length_ms = self._stage.market.tape(self._stage.slug, native), INTERVALS_MS[SPANS[span]]
        now_ms = self._stage.now_us() // 1000
        return list(tape.bars(length_ms, now_ms - 2 * length_ms + 1, now_ms, now_ms))

    def _show_klines(self, topic: str) -> None:
        """What changed since the last time; of a window that ended the last changes may come late."""
        for bar in self._bars(topic):
            if bar.trades and (seen := (bar.open_ms, bar.trades)) > self._shown.get(topic, (0, 0)):
                self._shown[topic] = seen
                self._tell(self._audience[topic], self._kline(topic, bar))

    def _kline(self, topic: str, bar: Bar) -> bytes:
        """Windows are in seconds."""
        native, span = topic.split("@")[2:]
        x = self._stage.market.tape(self._stage.slug, native).listing
        start_s = bar.open_ms // 1000
        prices = [price_text(x, units) for units in (bar.open, bar.close, bar.high, bar.low)]
        values: list[Value] = [span, start_s, *prices, quantity_text(x, bar.volume), amount_text(x, bar.turnover)]
        values.append(start_s + INTERVALS_MS[SPANS[span]] // 1000)
        return kline_frame(topic, native, self._stage.now_us() // 1000, enumerate(values, 1))

    # ---- time --------------------------------------------------------------------------------

    def tick(self) -> None:
        now_us = self._stage.now_us()
        for rate_ms in RATES_MS:
            if now_us // (1000 * rate_ms) > self._window[rate_ms]:
                self._window[rate_ms] = now_us // (1000 * rate_ms)
                self._push(rate_ms)
        for connection in list(self._stage.connections):
            if isinstance(connection.notes, Listener) and not connection.notes.is_over:
                self._keep_alive(connection, connection.notes)
        if self._stage.clock_s() - self._klines_s >= KLINES_EVERY_S:
            self._klines_s = self._stage.clock_s()
            for topic in [t for t in self._audience if KLINE.fullmatch(t)]:
                self._show_klines(topic)

    def _keep_alive(self, connection: Connection, listener: Listener) -> None:
        """Idle connections vanish without a close frame; pings help only one that has topics."""
        is_over, options = self._stage.is_over, self._stage.options
        lifetime_s = DAY_S * options.scale if options.lifetime_s is None else options.lifetime_s
        if self._stage.clock_s() - connection.opened_s >= lifetime_s:
            listener.is_over = True
            connection.close(1000)
        elif is_over(listener.heard_s, NO_DATA_S) if listener.topics else is_over(listener.topicless_s, NO_TOPIC_S):
            listener.is_over = True
            connection.abort()

    def announce_end(self) -> None:
        """MEXC documents no notice; the connections end."""
        for connection in self._stage.connections:
            connection.close(1000)

    # ---- faults ------------------------------------------------------------------------------

    def nonsense(self, kind: Nonsense) -> str | bytes:
        x = self._stage.listings[0]
        now_us = self._stage.now_us()
        deal = self._deal(x, Print(1, 1, 1, now_us, x.tick_units, x.lot_units, True, (x.lot_units,)), 0)
        native = "NOSUCHUSDT" if kind is Nonsense.UNKNOWN_SYMBOL else x.native
        if kind is Nonsense.HUGE_NUMBER:
            deal[0] = (1, "1e400")
        if kind is Nonsense.BINARY:
            return random.Random(7).randbytes(64)  # noqa: S311 - bytes that mean nothing
        frame = deals_frame(_deals_topic(100, native), native, now_us // 1000, [deal])
        return frame[: len(frame) // 2] if kind is Nonsense.MALFORMED else frame

    def playback_reply(self, text: str) -> str | None:
        try:
            asked: Any = json.loads(text)
            return _said("PONG" if asked["method"] == "PING" else ",".join(asked["params"]))
        except (ValueError, KeyError, TypeError):
            return None


def trade_id(number: int) -> str:
    """Two order-like numbers: unique, without order and without neighbours."""
    orders = (10**17 + (2 * number + side) * 0x9E3779B97F4A7C15 % (9 * 10**17) for side in (0, 1))
    return "_".join(f"{order}X0" for order in orders)


def _deals_topic(rate_ms: int, native: str) -> str:
    return f"spot@public.aggre.deals.v3.api.pb@{rate_ms}ms@{native}"


def _said(text: str) -> str:
    return json.dumps({"id": 0, "code": 0, "msg": text}, separators=(",", ":"), ensure_ascii=False)
