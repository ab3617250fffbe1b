"""A simulated venue on a clock that only moves when told: its sockets are queues in memory, its day takes seconds."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Collection
from typing import Any

from aiohttp.test_utils import make_mocked_request

from exchanges.simulation.connection import Connection
from exchanges.simulation.listing import Listing
from exchanges.simulation.market import Market
from exchanges.simulation.stage import Options, Stage
from exchanges.simulator import load

START_MS = 1_770_000_000_000
CLOCK_ZERO_S = 1_000_000.0


class VirtualSocket(Connection):
    """Both ends of one connection: `inbox` is unread by the client, `ended` tells why the venue ended it."""

    def __init__(self, path: str, clock_s: Callable[[], float]) -> None:
        super().__init__(None, make_mocked_request("GET", path), clock_s)  # type: ignore[arg-type]
        self.inbox: deque[bytes] = deque()
        self.pings: deque[bytes] = deque()
        self.ended = ""

    def _put(self, item: Any) -> None:
        kind = getattr(item, "kind", "")
        if self.ended:
            return
        if kind == "close":
            self.ended = f"closed {item.code} {item.payload.decode()}".strip()
        elif kind == "ping":
            self.pings.append(item.payload)
        elif not kind:
            self.inbox.append(item.encode() if isinstance(item, str) else item)

    def abort(self) -> None:
        """The venue resets the connection."""
        self.ended = self.ended or "reset"


class VirtualVenue:
    """One venue's simulator with the protocol's real periods and limits; `now_ns` is its clock and the client's.

    `kills` lists every connection that the venue ended, with its age in seconds and the reason.
    """

    def __init__(self, slug: str, natives: Collection[str], *, pace: float, seed: int = 1) -> None:
        script = load(slug)
        self.listings: list[Listing] = [x for x in script.listings if x.native in natives]
        self.market = Market(self.listings, seed=seed, start_ms=START_MS, pace=pace)
        self.now_us = START_MS * 1000
        self.kills: list[tuple[float, str]] = []
        self._stage = Stage(slug, self.market, Options(), lambda: self.now_us, lambda: None, clock_s=self.clock_s)
        self.venue = script.build(self._stage)
        self._slug = slug

    @property
    def now_ns(self) -> int:
        """ns UTC."""
        return self.now_us * 1000

    def clock_s(self) -> float:
        """The stage's clock."""
        return CLOCK_ZERO_S + (self.now_us - START_MS * 1000) / 1e6

    def socket_path(self) -> str:
        """Where a client connects; KuCoin tells it in its token reply."""
        if self._slug != "kucoin":
            return "/stream" if self._slug.startswith("binance") else "/ws"
        reply = self.venue.answer(make_mocked_request("POST", "/api/v1/bullet-public"))
        return f"/endpoint?token={json.loads(reply.text or '')['data']['token']}&connectId=soak"

    def connect(self) -> VirtualSocket:
        """A client's handshake."""
        socket = VirtualSocket(self.socket_path(), self.clock_s)
        self._stage.connections[socket] = None
        self.venue.opened(socket)
        return socket

    def receive(self, socket: VirtualSocket, text: str) -> None:
        """What the client sent."""
        self.venue.received(socket, text)

    def leave(self, socket: VirtualSocket) -> None:
        """The client closes."""
        self._stage.connections.pop(socket, None)
        self.venue.closed(socket)

    def advance(self, step_us: int) -> None:
        """Trade on, then do what the protocol has due; a client's socket answers pings by itself."""
        self.now_us += step_us
        by_tape: dict[Any, list[Any]] = {}
        for tape, new in self.market.advance(self.now_us):
            by_tape.setdefault(tape, []).append(new)
        for tape, prints in by_tape.items():
            self.venue.traded(tape, prints)
        self.venue.tick()
        for connection in self._stage.connections:
            connection.release()
        for socket in [c for c in self._stage.connections if isinstance(c, VirtualSocket)]:
            while socket.pings:
                socket.pings.popleft()
                self.venue.ponged(socket, is_ping=False)
            if socket.ended:
                self.kills.append((round(self.clock_s() - socket.opened_s, 1), socket.ended))
                self.leave(socket)
