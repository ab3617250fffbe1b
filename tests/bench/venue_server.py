"""A venue as fast as a socket: acknowledges one subscription, then sends prepared frames as raw bytes.

A process of its own, so that its CPU is not counted; only the handshake and the acknowledgement are protocol.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import sys
import time
from pathlib import Path

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def serve(frames_file: Path, go_file: Path) -> None:
    """Print the port; serve one connection; begin to send when `go_file` exists."""
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    payload = frames_file.read_bytes()
    connection = _websocket(listener)
    control = _read_text(connection)
    connection.sendall(_framed(json.dumps({"result": None, "id": control["id"]}).encode()))
    while not go_file.exists():
        time.sleep(0.01)
    connection.sendall(payload)
    # Stay until the other side has closed, answering nothing.
    while connection.recv(65536):
        pass


def _websocket(listener: socket.socket) -> socket.socket:
    """The first connection that asks for an upgrade; REST calls in between are refused."""
    while True:
        connection, _ = listener.accept()
        request = b""
        while b"\r\n\r\n" not in request:
            request += connection.recv(65536)
        found = re.search(rb"(?im)^sec-websocket-key:\s*(\S+)", request)
        if found:
            accept = base64.b64encode(hashlib.sha1(found[1] + GUID).digest())
            connection.sendall(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
            )
            return connection
        connection.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        connection.close()


def _read_text(connection: socket.socket) -> dict[str, object]:
    head = connection.recv(2, socket.MSG_WAITALL)
    length = head[1] & 0x7F
    if length == 126:
        length = int.from_bytes(connection.recv(2, socket.MSG_WAITALL), "big")
    mask = connection.recv(4, socket.MSG_WAITALL)
    body = connection.recv(length, socket.MSG_WAITALL)
    return json.loads(bytes(b ^ mask[i % 4] for i, b in enumerate(body)))


def framed(payload: bytes) -> bytes:
    """One unmasked text frame."""
    return _framed(payload)


def _framed(payload: bytes) -> bytes:
    if len(payload) < 126:
        return b"\x81" + bytes([len(payload)]) + payload
    return b"\x81\x7e" + len(payload).to_bytes(2, "big") + payload


if __name__ == "__main__":
    serve(Path(sys.argv[1]), Path(sys.argv[2]))
