"""Slabs: the trades of one batch for one symbol and 5-minute bucket, in columns."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal, InvalidOperation, localcontext
from itertools import repeat

import msgspec
import zstandard

from livermore.core.candle import BUCKET_MS, BUCKET_NS
from livermore.core.errors import FrameRejected
from livermore.core.exact import CEILING, EXACT
from livermore.core.trade import Trade

_COMPRESS_FROM = 400  # bytes; below, a zstd frame costs more than it saves
_RAW, _ZSTD = b"\x00", b"\x01"
_FINEST_EXPONENT = -18
MAX_SLAB_BYTES = 64 * 1024 * 1024


class Slab(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Columns of equal length; see `livermore.core.trade.Trade` for each one's meaning."""

    received_ns: int
    ids: list[int | str]
    executions: list[int]
    times_ns: list[int]
    prices: list[str]
    quantities: list[str]
    buys: list[bool]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Slab)


def group(trades: Iterable[Trade], received_ns: int) -> dict[tuple[str, int], Slab]:
    """One slab per (symbol, open ms of the bucket), in the order of the trades."""
    groups: dict[tuple[str, int], list[Trade]] = {}
    for trade in trades:
        key = (trade[0], trade[1] // BUCKET_NS)
        members = groups.get(key)
        if members is None:
            groups[key] = [trade]
        else:
            members.append(trade)
    return {(symbol, bucket * BUCKET_MS): _slab(members, received_ns) for (symbol, bucket), members in groups.items()}


def _slab(trades: list[Trade], received_ns: int) -> Slab:
    _, times, ids, executions, prices, quantities, buys = map(list, zip(*trades, strict=True))
    return Slab(received_ns, ids, executions, times, prices, quantities, buys)


def encode(slab: Slab) -> bytes:
    """The stored form; the same slab always gives the same bytes."""
    raw = _encoder.encode(slab)
    if len(raw) < _COMPRESS_FROM:
        return _RAW + raw
    return _ZSTD + zstandard.ZstdCompressor(level=1).compress(raw)


def decode(stored: bytes) -> Slab:
    """What `encode` stored."""
    body = stored[1:]
    if stored[:1] == _ZSTD:
        body = zstandard.ZstdDecompressor().decompress(body, max_output_size=MAX_SLAB_BYTES)
    return _decoder.decode(body)


def numbers(column: list[str]) -> list[Decimal]:
    """A column of prices or quantities as decimals.

    Raises `FrameRejected` unless every one is a finite number above zero, below `CEILING`, with no more
    than 18 decimals. Judged as a whole column, because one check per number would cost as much as the
    conversion.
    """
    joined = "".join(column)
    if not joined.isascii() or "_" in joined or " " in joined:
        raise FrameRejected("not a number")
    try:
        values = list(map(Decimal, column))
        if not (min(values) > 0 and max(values) < CEILING):
            raise FrameRejected("number out of range")
        with localcontext(EXACT):
            exponent = sum(values, start=Decimal(0)).as_tuple().exponent
    except (ArithmeticError, InvalidOperation, ValueError, TypeError):
        raise FrameRejected("not a number") from None
    if not isinstance(exponent, int) or exponent < _FINEST_EXPONENT:
        raise FrameRejected("number out of range")
    return values


def identities(batch_id: str, slab: Slab) -> list[tuple[str, int] | int | str]:
    """What makes each trade itself within its symbol: its id, or else its place in its batch."""
    if "" in slab.ids:
        return list(zip(repeat(batch_id), range(len(slab.ids)), strict=False))
    return list(slab.ids)
