"""WebSocket frames out of a byte stream: many per read, no callback and no UTF-8 check per frame.

websocket-client makes the connection and sends; its own receive path costs some 15 µs a frame. A venue's
data frames are short, unmasked and unfragmented, so a slice is enough (RFC 6455 §5.2).
"""

from __future__ import annotations

from enum import IntEnum

from livermore.core.errors import RemoteProtocolError

MAX_MESSAGE_BYTES = 16 * 1024 * 1024


class Opcode(IntEnum):
    """RFC 6455 §5.2."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class FrameReader:
    """Collects bytes; hands out complete messages in order."""

    def __init__(self) -> None:
        self._rest = b""
        self._parts: list[bytes] = []
        self._parts_opcode = Opcode.CONTINUATION

    def feed(self, chunk: bytes) -> list[tuple[int, bytes]]:
        """The messages that `chunk` completes, as (opcode, payload).

        Raises `RemoteProtocolError` for a masked frame, reserved bits (no extension was negotiated), a
        message above `MAX_MESSAGE_BYTES`, or a continuation of nothing.
        """
        buffer = self._rest + chunk if self._rest else chunk
        size = len(buffer)
        at = 0
        messages: list[tuple[int, bytes]] = []
        while size - at >= 2:
            first, length = buffer[at], buffer[at + 1]
            start = at + 2
            if length >= 126:
                wide = 2 if length == 126 else 8
                if length > 127:
                    raise RemoteProtocolError("a server must not mask its frames")
                start += wide
                if start > size:
                    break
                length = int.from_bytes(buffer[at + 2 : start], "big")
                if length > MAX_MESSAGE_BYTES:
                    raise RemoteProtocolError(f"a message of {length} bytes")
            end = start + length
            if end > size:
                break
            at = end
            if first == 0x81 and not self._parts:  # a whole text message: nearly every frame
                messages.append((1, buffer[start:end]))
            else:
                message = self._unusual(first, buffer[start:end])
                if message is not None:
                    messages.append(message)
        self._rest = buffer[at:] if at < size else b""
        return messages

    def _unusual(self, first: int, payload: bytes) -> tuple[int, bytes] | None:
        if first & 0x70:
            raise RemoteProtocolError("reserved bits are set although no extension was negotiated")
        opcode, is_final = first & 0x0F, bool(first & 0x80)
        if opcode >= Opcode.CLOSE:
            return opcode, payload
        if opcode == Opcode.CONTINUATION and not self._parts:
            raise RemoteProtocolError("a continuation of nothing")
        if opcode != Opcode.CONTINUATION:
            if self._parts:
                raise RemoteProtocolError("a new message inside a fragmented one")
            if is_final:
                return opcode, payload
            self._parts_opcode = Opcode(opcode)
        self._parts.append(payload)
        if sum(map(len, self._parts)) > MAX_MESSAGE_BYTES:
            raise RemoteProtocolError("a fragmented message grew too large")
        if not is_final:
            return None
        whole, self._parts = b"".join(self._parts), []
        return self._parts_opcode, whole
