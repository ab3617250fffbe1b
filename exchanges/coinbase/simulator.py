"""Coinbase Advanced Trade's side of the conversation, from its public documentation."""

from __future__ import annotations

import json
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from exchanges.coinbase.simulator_listings import LISTINGS
from exchanges.coinbase.simulator_rest import (
    RestAnswers,
    aliases,
    candle_row,
    envelope_time,
    match_time,
    price_text,
    size_text,
)
from exchanges.simulation.connection import Connection
from exchanges.simulation.listing import BUCKET_MS, Listing, Print
from exchanges.simulation.stage import Nonsense, Script, Stage
from exchanges.simulation.tape import Tape

CHANNELS = ("market_trades", "heartbeats", "candles", "ticker", "ticker_batch", "status", "level2")
SNAPSHOT_TRADES = 100
SNAPSHOT_CANDLES = 100
BATCH_US = 200_000
FIRST_MESSAGE_S = 5.0
IDLE_S = 75.0
MESSAGES, MESSAGES_WINDOW_S = 8, 1.0
"""Those without a token, of all connections of an address; here everybody has the same."""


@dataclass(slots=True, eq=False)
class Listener:
    """What Coinbase remembers of one connection; trades of `lost` products do not come."""

    heard_s: float
    beat_s: float
    channels: dict[str, dict[str, None]] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    sequence: int = 0
    beats: int = 0

    def hears(self, channel: str, product: str) -> bool:
        return product in self.channels.get(channel, ()) and not (channel == "market_trades" and product in self.lost)


class Coinbase:
    """The channels and answers of Coinbase."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._rest = RestAnswers(stage)
        self._pending: dict[Tape, list[Print]] = {}
        self._flushed_s = self._candles_s = self._began_s = stage.clock_s()
        self._shown: dict[str, int] = {}
        self._asked_s: deque[float] = deque()

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
        if not self._is_admitted(text):
            connection.close(1008, "rate limit exceeded")
            return
        try:
            asked = json.loads(text)
            kind, channel = asked["type"], asked["channel"]
            products = [str(p) for p in asked.get("product_ids") or ()]
        except (ValueError, KeyError, TypeError):
            connection.send('{"type":"error","message":"invalid message"}')
            return
        if kind not in ("subscribe", "unsubscribe") or channel not in CHANNELS:
            connection.send('{"type":"error","message":"authentication failure"}')
            return
        listener.heard_s = self._stage.clock_s()
        known = list(dict.fromkeys(a for p in products if self._stage.tape(a := aliases().get(p, p)) is not None))
        if channel == "heartbeats":
            known = ["heartbeats"]
        if kind == "subscribe":
            self.flush()  # what is older than the snapshot belongs to the earlier listeners only
            listener.channels.setdefault(channel, {}).update(dict.fromkeys(known))
            if channel == "market_trades":
                listener.lost.difference_update(known)
                listener.lost.update(p for p in known if self._stage.loses_topic())
            self._snapshots(connection, channel, [p for p in known if p not in listener.lost])
        else:
            for product in known if products or channel == "heartbeats" else list(listener.channels.get(channel, ())):
                listener.channels.get(channel, {}).pop(product, None)
        if not listener.channels.get(channel):
            listener.channels.pop(channel, None)
        state = {c: list(p) for c, p in listener.channels.items()}
        self._say(connection, "subscriptions", {"subscriptions": state})

    def _is_admitted(self, text: str) -> bool:
        """Counts what comes without a token; Coinbase does not say how it ends those who exceed the limit."""
        if '"jwt"' in text:
            return True
        self._asked_s.append(self._stage.clock_s())
        while self._stage.is_over(self._asked_s[0], MESSAGES_WINDOW_S):
            self._asked_s.popleft()
        return len(self._asked_s) <= MESSAGES

    def ponged(self, connection: Connection, is_ping: bool) -> None:
        """Control frames mean nothing here."""

    def closed(self, connection: Connection) -> None:
        """Nothing is kept of a connection that ended."""

    def _snapshots(self, connection: Connection, channel: str, products: list[str]) -> None:
        """Data may come before the acknowledgement: the snapshots do."""
        now_ms = self._stage.now_us() // 1000
        for product in products:
            tape = self._stage.tape(product)
            if tape is None:
                continue
            x = tape.listing
            if channel == "market_trades":
                trades = [self._trade(x, p) for p in reversed(tape.prints[-SNAPSHOT_TRADES:])]
                self._say(connection, channel, {"type": "snapshot", "trades": trades})
            elif channel == "candles":
                first_ms = now_ms - SNAPSHOT_CANDLES * BUCKET_MS
                rows = [candle_row(x, b) for b in tape.bars(BUCKET_MS, first_ms, now_ms, now_ms) if b.trades]
                rows = [r | {"product_id": x.native} for r in reversed(rows)]
                self._say(connection, channel, {"type": "snapshot", "candles": rows})
            elif channel == "ticker":
                self._say(connection, channel, {"type": "snapshot", "tickers": [self._ticker(tape)]})

    # ---- market data -------------------------------------------------------------------------

    def traded(self, tape: Tape, prints: Sequence[Print]) -> None:
        self._pending.setdefault(tape, []).extend(prints)

    def flush(self) -> None:
        """Send what was collected: one frame per product and batching interval, newest first."""
        self._flushed_s = self._stage.clock_s()
        pending, self._pending = self._pending, {}
        for tape, prints in pending.items():
            batches: dict[int, list[Print]] = {}
            for p in prints:
                batches.setdefault(p.time_us // BATCH_US, []).append(p)
            product = tape.listing.native
            listeners = [c for c in self._stage.connections if isinstance(c.notes, Listener)]
            hearers = [c for c in listeners if c.notes.hears("market_trades", product)]
            watchers = [c for c in listeners if c.notes.hears("ticker", product)]
            for batch in batches.values() if hearers else ():
                trades = [self._trade(tape.listing, p) for p in reversed(batch)]
                for connection in hearers:
                    event = {"type": "update", "trades": trades}
                    self._say(connection, "market_trades", event, is_trade=True)
            for connection in watchers:
                self._say(connection, "ticker", {"type": "update", "tickers": [self._ticker(tape)]})

    def _trade(self, x: Listing, p: Print) -> dict[str, str]:
        """`side` is the maker's: a taker who buys meets an offer."""
        return {
            "product_id": x.native,
            "trade_id": str(p.first),
            "price": price_text(x, p.price),
            "size": size_text(x, p.quantity),
            "time": match_time(p.time_us),
            "side": "SELL" if p.is_buy else "BUY",
        }

    def _ticker(self, tape: Tape) -> dict[str, str]:
        x, last = tape.listing, tape.last_price
        return {
            "type": "ticker",
            "product_id": x.native,
            "price": price_text(x, last),
            "volume_24_h": size_text(x, tape.volume_24h(self._stage.now_us() // 1000).volume),
            "best_bid": price_text(x, last - x.tick_units),
            "best_bid_quantity": size_text(x, 10 * x.lot_units),
            "best_ask": price_text(x, last + x.tick_units),
            "best_ask_quantity": size_text(x, 10 * x.lot_units),
        }

    def _say(self, connection: Connection, channel: str, event: dict[str, Any], *, is_trade: bool = False) -> None:
        """One frame; it takes a sequence number even when a fault then swallows it."""
        listener: Listener = connection.notes
        frame = {
            "channel": channel,
            "client_id": "",
            "timestamp": envelope_time(self._stage.now_us()),
            "sequence_num": listener.sequence,
            "events": [event],
        }
        listener.sequence += 1
        listener.heard_s = self._stage.clock_s()
        connection.send(json.dumps(frame, separators=(",", ":")), is_trade=is_trade)

    # ---- time --------------------------------------------------------------------------------

    def tick(self) -> None:
        now_s = self._stage.clock_s()
        if now_s - self._flushed_s >= BATCH_US / 1e6:
            self.flush()
        for connection in list(self._stage.connections):
            if isinstance(connection.notes, Listener):
                self._keep_alive(connection, now_s)
        if now_s - self._candles_s >= 1.0:
            self._candles_s = now_s
            self._show_candles()

    def _keep_alive(self, connection: Connection, now_s: float) -> None:
        listener: Listener = connection.notes
        lifetime_s = self._stage.options.lifetime_s
        has_heartbeats = "heartbeats" in listener.channels
        if has_heartbeats and now_s - listener.beat_s >= 1.0:
            listener.beat_s = max(listener.beat_s + 1.0, now_s - 0.5)
            self._beat(connection, listener, now_s)
        patience_s = IDLE_S if listener.channels else FIRST_MESSAGE_S
        if (not has_heartbeats and self._stage.is_over(listener.heard_s, patience_s)) or (
            lifetime_s is not None and now_s - connection.opened_s >= lifetime_s
        ):
            listener.heard_s = connection.opened_s = now_s
            connection.close(1000)

    def _beat(self, connection: Connection, listener: Listener, now_s: float) -> None:
        now = datetime.fromtimestamp(self._stage.now_us() / 1e6, UTC)
        text = f"{now:%Y-%m-%d %H:%M:%S.%f}000 +0000 UTC m=+{now_s - self._began_s:.9f}"
        listener.beats += 1  # never repeats or skips, even where a beat leaves late
        self._say(connection, "heartbeats", {"current_time": text, "heartbeat_counter": listener.beats})

    def _show_candles(self) -> None:
        """The running candle, once a second when it changed; the closed one is sent once more after it."""
        wanted = {
            product
            for c in self._stage.connections
            if isinstance(c.notes, Listener)
            for product in c.notes.channels.get("candles", ())
        }
        now_ms = self._stage.now_us() // 1000
        for product in wanted:
            tape = self._stage.tape(product)
            if tape is None or self._shown.get(product) == tape.next_id:
                continue
            self._shown[product] = tape.next_id
            bars = [b for b in tape.bars(BUCKET_MS, now_ms - 2 * BUCKET_MS + 1, now_ms, now_ms) if b.trades]
            rows = [candle_row(tape.listing, b) | {"product_id": product} for b in reversed(bars)]
            for c in self._stage.connections:
                if isinstance(c.notes, Listener) and product in c.notes.channels.get("candles", ()):
                    self._say(c, "candles", {"type": "update", "candles": rows})

    def announce_end(self) -> None:
        """Coinbase documents no notice; the connections are closed normally."""
        for connection in self._stage.connections:
            connection.close(1001)

    # ---- faults ------------------------------------------------------------------------------

    def nonsense(self, kind: Nonsense) -> str | bytes:
        x = self._stage.listings[0]
        trade = self._trade(x, Print(1, 1, 1, self._stage.now_us(), x.tick_units, x.lot_units, True, (1,)))
        if kind is Nonsense.UNKNOWN_SYMBOL:
            trade["product_id"] = "NOSUCH-USD"
        elif kind is Nonsense.HUGE_NUMBER:
            trade["price"] = "1e400"
        event = {"type": "update", "trades": [trade]}
        stamp = envelope_time(self._stage.now_us())
        text = json.dumps({"channel": "market_trades", "timestamp": stamp, "events": [event]}, separators=(",", ":"))
        if kind is Nonsense.BINARY:
            return random.Random(7).randbytes(64)  # noqa: S311 - bytes that mean nothing
        return text[: len(text) // 2] if kind is Nonsense.MALFORMED else text

    def playback_reply(self, text: str) -> str | None:
        """The recordings hold Coinbase's own acknowledgements."""
        return None


SIMULATOR = Script(listings=LISTINGS, build=Coinbase, leads=True)
