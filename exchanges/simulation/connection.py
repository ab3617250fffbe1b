"""One client's socket at a simulated venue: an ordered outbox, and the faults that befall what is sent."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Any

from aiohttp import WSMsgType, web

OUTBOX_LIMIT = 500_000
OVERTAKEN_WITHIN_S = 1.0
"""A frame that waits to be overtaken comes by itself when no other follows."""


@dataclass(slots=True)
class Mishaps:
    """What happens to the next frames with trades of a connection: each number counts down.

    A `late` frame comes `late_s` seconds after its time; one to `reorder` comes after its successor. `drift` renames
    a field, (name, new name, text that the frame must contain), while the clock is below `drifts_until_s`.
    """

    silent_until_s: float = 0.0
    drop: int = 0
    duplicate: int = 0
    late: int = 0
    late_s: float = 0.0
    reorder: int = 0
    drift: tuple[str, str, str] = ("", "", "")
    drifts_until_s: float = 0.0

    def drifted(self, payload: str | bytes) -> str | bytes:
        """The frame with the field renamed; binary schemas have no names."""
        name, new, about = self.drift
        if isinstance(payload, bytes) or about not in payload:
            return payload
        return payload.replace(f'"{name}":', f'"{new}":')


class Connection:
    """Sending is immediate for the caller; frames leave in order, as fast as the client reads.

    A client that lets more than `OUTBOX_LIMIT` frames pile up is cut, as venues do with slow readers.
    `notes` is the venue's own memory of this conversation, `opened_s` when it began by `clock_s`. Whatever is
    sent leaves `delay_s` later, as on a long line.
    """

    def __init__(
        self,
        socket: web.WebSocketResponse,
        request: web.Request,
        clock_s: Callable[[], float] = time.monotonic,
        delay_s: float = 0.0,
    ) -> None:
        self.request = request
        self.notes: Any = None
        self.clock_s = clock_s
        self.opened_s = clock_s()
        self.mishaps = Mishaps()
        self._socket = socket
        self._delay_s = delay_s
        self._outbox: deque[tuple[float, str | bytes | _Control]] = deque()
        self._held: list[tuple[float, str | bytes]] = []
        self._overtaken: list[tuple[float, str | bytes]] = []
        self._more = asyncio.Event()

    @property
    def is_drained(self) -> bool:
        """Everything was handed to the operating system."""
        return not self._outbox

    def send(self, payload: str | bytes, *, is_trade: bool = False) -> None:
        """Queue one frame; only frames with trades suffer more than silence."""
        if self.clock_s() < self.mishaps.silent_until_s:
            return
        if is_trade:
            self._send_trades(payload)
        else:
            self._put(payload)

    def _send_trades(self, payload: str | bytes) -> None:
        mishaps, now_s = self.mishaps, self.clock_s()
        if now_s < mishaps.drifts_until_s:
            payload = mishaps.drifted(payload)
        if mishaps.drop:
            mishaps.drop -= 1
        elif mishaps.late:
            mishaps.late -= 1
            self._held.append((now_s + mishaps.late_s, payload))
        elif mishaps.reorder and not self._overtaken:
            mishaps.reorder -= 1
            self._overtaken.append((now_s + OVERTAKEN_WITHIN_S, payload))
        else:
            copies = 2 if mishaps.duplicate else 1
            mishaps.duplicate = max(0, mishaps.duplicate - 1)
            for _ in range(copies):
                self._put(payload)
            self._release(self._overtaken, inf)

    def release(self) -> None:
        """Queue what was held back and is due; to be called every now and then."""
        self._release(self._held, self.clock_s())
        self._release(self._overtaken, self.clock_s())

    def _release(self, held: list[tuple[float, str | bytes]], until_s: float) -> None:
        due = [payload for due_s, payload in held if due_s <= until_s]
        held[:] = [entry for entry in held if entry[0] > until_s]
        for payload in due:
            self._put(payload)

    def ping(self, payload: bytes) -> None:
        """Queue a ping control frame."""
        if self.clock_s() >= self.mishaps.silent_until_s:
            self._put(_Control("ping", payload=payload))

    def pong(self, payload: bytes) -> None:
        """Answer a client's ping."""
        if self.clock_s() >= self.mishaps.silent_until_s:
            self._put(_Control("pong", payload=payload))

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame, after what is queued, and end."""
        self._put(_Control("close", code=code, payload=reason.encode()))

    def abort(self) -> None:
        """Reset the TCP connection: no close frame, nothing flushed."""
        if self.request.transport is not None:
            self.request.transport.abort()

    def _put(self, item: str | bytes | _Control) -> None:
        if len(self._outbox) > OUTBOX_LIMIT:
            self.abort()
            return
        self._outbox.append((time.monotonic() + self._delay_s, item))
        self._more.set()

    async def write(self) -> None:
        """Empty the outbox for ever; ends when the socket does."""
        try:
            while not self._socket.closed:
                while self._outbox:
                    due_s, item = self._outbox[0]
                    if self._delay_s:
                        await asyncio.sleep(max(0.0, due_s - time.monotonic()))
                    await self._write(item)
                    self._outbox.popleft()
                self._more.clear()
                await self._more.wait()
        except (ConnectionError, RuntimeError):
            self._outbox.clear()

    async def _write(self, item: str | bytes | _Control) -> None:
        if isinstance(item, str):
            await self._socket.send_str(item)
        elif isinstance(item, bytes):
            await self._socket.send_bytes(item)
        elif item.kind == "ping":
            await self._socket.ping(item.payload)
        elif item.kind == "pong":
            await self._socket.pong(item.payload)
        else:
            await self._socket.close(code=item.code, message=item.payload, drain=True)


@dataclass(frozen=True, slots=True)
class _Control:
    kind: str
    code: int = 1000
    payload: bytes = field(default=b"")


async def incoming(socket: web.WebSocketResponse) -> Any:
    """The client's messages as `(type, content)`, until the connection ends."""
    while True:
        message = await socket.receive()
        if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
            return
        yield message.type, message.data
