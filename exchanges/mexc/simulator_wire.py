"""MEXC's binary frames, written by hand from the field numbers of its published schema."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

Value = int | str | bytes

CHANNEL, SYMBOL, SYMBOL_ID, CREATE_MS, SEND_MS = 1, 3, 4, 5, 6
KLINE_BODY, DEALS_BODY = 308, 314

VARINT, DELIMITED = 0, 2


def varint(number: int) -> bytes:
    """Seven bits a byte, least significant first; a set high bit says that more follow."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def field(number: int, value: Value) -> bytes:
    """One field; what equals its type's default is left out, as proto3 wants."""
    if not value:
        return b""
    if isinstance(value, int):
        return varint(number << 3 | VARINT) + varint(value)
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | DELIMITED) + varint(len(content)) + content


def message(fields: Iterable[tuple[int, Value]]) -> bytes:
    """Fields in the order given."""
    return b"".join(field(number, value) for number, value in fields)


def deals_frame(channel: str, symbol: str, send_ms: int, deals: Iterable[Iterable[tuple[int, Value]]]) -> bytes:
    """A push of deals; the event type is the channel without its symbol."""
    items = [(1, message(deal)) for deal in deals]
    body = message([*items, (2, channel.rpartition("@")[0])])
    return message([(CHANNEL, channel), (SYMBOL, symbol), (SEND_MS, send_ms), (DEALS_BODY, body)])


def kline_frame(channel: str, symbol: str, create_ms: int, bar: Iterable[tuple[int, Value]]) -> bytes:
    """A push of the running kline."""
    symbol_id = hashlib.blake2b(symbol.encode(), digest_size=16).hexdigest()
    head = [(CHANNEL, channel), (SYMBOL, symbol), (SYMBOL_ID, symbol_id), (CREATE_MS, create_ms)]
    return message([*head, (KLINE_BODY, message(bar))])
