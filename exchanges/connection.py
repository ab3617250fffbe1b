"""One socket's life: connect, converse through a Session, collect batches, end. Reconnecting is `stream`'s."""

from __future__ import annotations

import logging
import secrets
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import websocket

from exchanges.batching import Batcher
from exchanges.framing import FrameReader, Opcode
from exchanges.venue import KEEP, Close, Event, Limits, Lost, Ready, Refused, Rest, Rotate, Send, Session, Venue
from livermore.core.errors import (
    GeoBlocked,
    LivermoreError,
    RateLimited,
    RemoteProtocolError,
    VenueUnavailable,
)
from livermore.core.frame import FrameBatch
from livermore.core.trade import Nanos
from livermore.logs import event
from livermore.version import version

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0
RECEIVE_TIMEOUT_S = 0.05
GATHER_S = 0.01
"""After a small read the next one waits so long: one wake-up then brings many frames."""
READ_BYTES = 256 * 1024
SMALL_READ_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class Link:
    """What every connection of a stream shares. `emit` takes batches and never blocks for long."""

    venue: Venue
    rest: Rest
    limits: Limits
    epoch: int
    emit: Callable[[FrameBatch], None]
    wake: Callable[[], None]


class Connection(threading.Thread):
    """A thread that owns one socket. Read its attributes from anywhere; change it only by its methods.

    `ready_ns` is set when every topic is acknowledged, `ended` when the thread has said its last word;
    `error` then tells why (None after `close`).
    """

    def __init__(self, link: Link, natives: Collection[str]) -> None:
        self.id = secrets.token_urlsafe(6)
        super().__init__(name=f"{link.venue.slug}-{self.id}", daemon=True)
        self._link = link
        self.natives = tuple(natives)
        self.refused: set[str] = set()
        self.ready_ns: int | None = None
        self.last_frame_ns = 0
        self.frames = 0
        self.wants_rotation = ""
        self.losses: deque[tuple[int, int]] = deque()
        self.ended = threading.Event()
        self.error: LivermoreError | None = None
        self._closing = threading.Event()
        self._wishes: deque[tuple[str, ...]] = deque()
        self._socket: websocket.WebSocket | None = None
        self._batcher = Batcher(link.venue.slug, self.id, link.epoch)

    # ---- from other threads --------------------------------------------------------------------

    def follow(self, natives: Collection[str]) -> None:
        """Have the session follow another set of native symbols."""
        self.natives = tuple(natives)
        self._wishes.append(self.natives)

    def close(self) -> None:
        """End soon: flush, close with 1000."""
        self._closing.set()

    # ---- the thread ----------------------------------------------------------------------------

    def run(self) -> None:
        """Live until closed or broken; the last batch leaves in any case."""
        try:
            self._converse()
        except LivermoreError as error:
            self.error = error
        except Exception as error:
            # The top of a loop that must live: a bug of ours costs this connection, not the stream.
            event(log, "stream.crashed", logging.ERROR, venue=self._link.venue.slug, connection=self.id)
            log.exception("stream.crashed")
            self.error = VenueUnavailable(f"{type(error).__name__}: {error}")
        finally:
            self._flush()
            self._hang_up()
            self.ended.set()
            self._link.wake()

    def _converse(self) -> None:
        now = _now()
        session = self._link.venue.session(self._link.limits, self.natives)
        connection = self._socket = _connect(self._link.rest.socket_url(self.natives))
        self.last_frame_ns = now
        reader = FrameReader()
        self._obey(session.opened(_now()), connection)
        while not self._closing.is_set():
            chunk = _read(connection)
            now = _now()
            if chunk:
                self._take(reader.feed(chunk), session, connection, now)
            while self._wishes:
                self._obey(session.follow(self._wishes.popleft(), now), connection)
            self._obey(session.tick(now), connection)
            if self._batcher.is_due(now):
                self._flush()
            if chunk is not None and len(chunk) < SMALL_READ_BYTES:
                time.sleep(GATHER_S)

    def _take(
        self, messages: list[tuple[int, bytes]], session: Session, connection: websocket.WebSocket, now: Nanos
    ) -> None:
        """Sort one read's messages into the batch and the conversation."""
        kept: list[bytes] = []
        keep, received = kept.append, session.received
        for opcode, payload in messages:
            if opcode <= Opcode.BINARY:
                events = received(payload, now)
                if events is KEEP:
                    keep(payload)
                elif events:
                    self._obey(events, connection)
            elif opcode == Opcode.PING:
                _send(connection, payload, Opcode.PONG)
            elif opcode == Opcode.CLOSE:
                code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
                self._batcher.add(kept, now)
                words = payload[2:80].decode("utf-8", "replace")
                raise VenueUnavailable(f"closed by the venue: {code} {words}".strip())
        if messages:
            self.last_frame_ns = now
            self.frames += len(messages)
        self._batcher.add(kept, now)
        # One large read may hold several batches' worth.
        if self._batcher.is_due(now):
            self._flush()

    def _obey(self, events: Collection[Event], connection: websocket.WebSocket) -> None:
        for happening in events:
            match happening:
                case Send(text):
                    _send(connection, text, Opcode.TEXT)
                case Ready():
                    self.ready_ns = self.ready_ns or _now()
                    self._link.wake()
                case Refused(natives, why):
                    self.refused |= set(natives)
                    event(log, "subscription.refused", logging.WARNING, connection=self.id, symbols=natives, why=why)
                case Lost(why):
                    self.losses.append((self.last_frame_ns, _now()))
                    event(log, "stream.lost", logging.WARNING, connection=self.id, why=why)
                    self._link.wake()
                case Rotate(why):
                    self.wants_rotation = why
                    self._link.wake()
                case Close(why):
                    raise RemoteProtocolError(why)
                case _:
                    pass

    def _flush(self) -> None:
        batch = self._batcher.take()
        if batch is not None:
            self._link.emit(batch)

    def _hang_up(self) -> None:
        if self._socket is None:
            return
        try:
            self._socket.close(status=1000, timeout=1)
        except (OSError, websocket.WebSocketException) as error:
            # Nobody is left to hear it; the socket is gone either way.
            event(log, "stream.close_failed", logging.DEBUG, connection=self.id, error=error)


def _now() -> Nanos:
    return Nanos(time.time_ns())


def _connect(url: str) -> websocket.WebSocket:
    """The handshake is websocket-client's; its errors are translated here."""
    try:
        connection = websocket.create_connection(
            url,
            timeout=CONNECT_TIMEOUT_S,
            header={"User-Agent": f"livermore/{version()}"},
            sockopt=((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),),
            enable_multithread=False,
        )
    except websocket.WebSocketBadStatusException as error:
        raise _refusal(error.status_code, error.resp_headers or {}) from None
    except (OSError, websocket.WebSocketException, ValueError) as error:
        raise VenueUnavailable(f"cannot connect: {error}") from None
    connection.settimeout(RECEIVE_TIMEOUT_S)
    return connection


def _refusal(status: int, headers: Mapping[str, str]) -> LivermoreError:
    if status == 451:
        return GeoBlocked("the venue answers 451: not available from this location")
    if status in (418, 429):
        wait_s = headers.get("retry-after", "")
        return RateLimited(f"the venue answers {status}", int(time.time() * 1000) + 1000 * int(wait_s or 5))
    return VenueUnavailable(f"the handshake was answered with {status}")


def _read(connection: websocket.WebSocket) -> bytes | None:
    """Whatever has arrived, None when nothing did in time."""
    try:
        chunk: bytes = connection.sock.recv(READ_BYTES)
    except TimeoutError:
        return None
    except OSError as error:
        if "timed out" in str(error):
            return None
        raise VenueUnavailable(f"connection lost: {error}") from None
    if not chunk:
        raise VenueUnavailable("connection lost: closed without a close frame")
    return chunk


def _send(connection: websocket.WebSocket, payload: str | bytes, opcode: int) -> None:
    try:
        connection.settimeout(CONNECT_TIMEOUT_S)
        connection.send(payload, opcode)
        connection.settimeout(RECEIVE_TIMEOUT_S)
    except (OSError, websocket.WebSocketException) as error:
        raise VenueUnavailable(f"connection lost while sending: {error}") from None
