"""One WebSocket as bytes: websocket-client opens it, sends and closes; the reading is ours (see `framing`)."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import time
from collections.abc import Mapping

import websocket

from exchanges.framing import Opcode
from livermore.core.errors import GeoBlocked, LivermoreError, RateLimited, VenueUnavailable
from livermore.version import version

CONNECT_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 1.0
READ_BYTES = 256 * 1024
PAUSE_S = {429: 10, 418: 120}
"""How long to wait where the venue does not say; a ban (418) starts at two minutes."""


class Transport:
    """Belongs to one thread; only `break_off` may be called from another.

    Every method raises `VenueUnavailable` when there is no connection (any more), except `close`.
    """

    def __init__(self) -> None:
        self._websocket = websocket.WebSocket(enable_multithread=False)
        self._ready = select.poll()

    def open(self, url: str) -> None:
        """Connect and shake hands. Raises `GeoBlocked` for 451 and `RateLimited` for 418 and 429 as well."""
        header = {"User-Agent": f"livermore/{version()}"}
        try:
            self._websocket.connect(url, timeout=CONNECT_TIMEOUT_S, header=header)
        except websocket.WebSocketBadStatusException as error:
            raise _refusal(error.status_code, error.resp_headers or {}) from None
        except (OSError, websocket.WebSocketException, ValueError) as error:
            raise VenueUnavailable(f"cannot connect: {error}") from None
        self._websocket.settimeout(0)
        self._ready.register(self._websocket.sock, select.POLLIN)

    def read(self, wait_s: float) -> bytes:
        """Whatever has arrived, at the latest after `wait_s`; empty when nothing has."""
        arrived = self._arrived()
        if not arrived and self._ready.poll(wait_s * 1000):
            arrived = self._arrived()
        return arrived

    def send(self, payload: str | bytes, opcode: Opcode = Opcode.TEXT) -> None:
        """Send one message."""
        try:
            self._websocket.settimeout(CONNECT_TIMEOUT_S)
            self._websocket.send(payload, opcode)
            self._websocket.settimeout(0)
        except (OSError, websocket.WebSocketException) as error:
            raise VenueUnavailable(f"connection lost while sending: {error}") from None

    def close(self) -> None:
        """Say goodbye with 1000 and wait a moment for the answer."""
        # Where the other side is gone already, nobody is left to hear it.
        with contextlib.suppress(OSError, websocket.WebSocketException):
            self._websocket.settimeout(CLOSE_TIMEOUT_S)
        self._websocket.close(status=1000, timeout=CLOSE_TIMEOUT_S)

    def break_off(self) -> None:
        """End a handshake, from another thread. Only a TCP or TLS connect goes on to its own time-out."""
        sock = self._websocket.sock
        if sock is not None:
            with contextlib.suppress(OSError):
                # Not SSLSocket's own: that would take the TLS object from under the thread that reads.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def _arrived(self) -> bytes:
        """TLS hands out one record a call, and a venue may put every frame in its own: read on until none is left."""
        sock = self._websocket.sock
        chunks: list[bytes] = []
        missing = READ_BYTES
        try:
            while missing > 0:
                chunk = sock.recv(missing)
                if not chunk:
                    raise ConnectionResetError("closed without a close frame")
                chunks.append(chunk)
                missing -= len(chunk) if isinstance(sock, ssl.SSLSocket) else READ_BYTES
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError as error:
            if not chunks:  # otherwise the next read finds it out again
                raise VenueUnavailable(f"connection lost: {error}") from None
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _refusal(status: int, headers: Mapping[str, str]) -> LivermoreError:
    if status == 451:
        return GeoBlocked("the venue answers 451: not available from this location")
    if status in PAUSE_S:
        said = headers.get("retry-after", "")
        wait_s = int(said) if said.isdecimal() else PAUSE_S[status]
        return RateLimited(f"the venue answers {status}", int((time.time() + wait_s) * 1000))
    return VenueUnavailable(f"the handshake was answered with {status}")
