"""One venue's HTTP and WebSocket server on loopback."""

from __future__ import annotations

import asyncio

from aiohttp import WSMsgType, web

from exchanges.simulation.connection import Connection, incoming
from exchanges.simulation.faults import Faults
from exchanges.simulation.playback import Playback
from exchanges.simulation.stage import SimulatedVenue, Stage

MAX_REQUEST_BYTES = 1 << 20


class VenueServer:
    """Serves REST and sockets of one venue on one port; `playback` replaces the market's frames."""

    def __init__(self, stage: Stage, venue: SimulatedVenue, playback: Playback | None = None) -> None:
        self.stage = stage
        self.venue = venue
        self.faults = Faults(stage, venue)
        self.port = 0
        self._playback = playback
        self._recorded = playback.answers() if playback else {}
        self._plays: dict[Connection, asyncio.Task[None]] = {}
        self._runner: web.AppRunner | None = None

    async def start(self, port: int = 0) -> None:
        """Listen; port 0 takes a free one. Raises OSError when the port is taken."""
        app = web.Application(client_max_size=MAX_REQUEST_BYTES)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Cut every client and stop listening."""
        for connection in list(self.stage.connections):
            connection.abort()
        if self._runner is not None:
            await self._runner.cleanup()

    def tick(self) -> None:
        """What is due now: the protocol's own, and frames that faults hold back."""
        self.venue.tick()
        for connection in list(self.stage.connections):
            connection.release()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return self.faults.refuse_handshake() or await self._converse(request)
        refused = self.faults.refuse_rest(request)
        if refused is not None:
            return refused
        if request.path in self._recorded:
            return web.Response(text=self._recorded[request.path], content_type="application/json")
        self.stage.catch_up()
        return self.venue.answer(request)

    async def _converse(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(autoping=False, compress=False, timeout=1.0, max_msg_size=MAX_REQUEST_BYTES)
        await socket.prepare(request)
        delay_s = self.stage.options.delays_s.get(self.stage.slug, 0.0)
        connection = Connection(socket, request, self.stage.clock_s, delay_s)
        writer = asyncio.create_task(connection.write())
        self.stage.connections[connection] = None
        try:
            self._opened(connection)
            async for kind, content in incoming(socket):
                self._received(connection, kind, content)
        finally:
            self.stage.connections.pop(connection, None)
            self.venue.closed(connection)
            play = self._plays.pop(connection, None)
            for task in (writer, play):
                if task is not None:
                    task.cancel()
        return socket

    def _opened(self, connection: Connection) -> None:
        if self._playback is None:
            self.venue.opened(connection)
        elif {"streams", "token"} & set(connection.request.query) or connection.request.path.startswith("/ws/"):
            self._play(connection, self._playback)

    def _received(self, connection: Connection, kind: WSMsgType, content: str | bytes) -> None:
        if kind in (WSMsgType.PING, WSMsgType.PONG):
            if kind is WSMsgType.PING:
                connection.pong(bytes(content) if not isinstance(content, str) else content.encode())
            if self._playback is None:
                self.venue.ponged(connection, kind is WSMsgType.PING)
            return
        text = content if isinstance(content, str) else content.decode("utf-8", "replace")
        if self._playback is None:
            self.venue.received(connection, text)
            return
        reply = self.venue.playback_reply(text)
        if reply is not None:
            connection.send(reply)
        self._play(connection, self._playback)

    def _play(self, connection: Connection, playback: Playback) -> None:
        if connection not in self._plays:
            self._plays[connection] = asyncio.create_task(playback.play(connection))
