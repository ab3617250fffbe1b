"""FrameBatch ↔ message body: raw frames joined and compressed, versioned so that any worker can refuse it."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import Any

import zstandard

from livermore.core.errors import FrameRejected
from livermore.core.frame import FrameBatch

VERSION = 1
LEVEL = 1
MAX_BODY_BYTES = 64 * 1024 * 1024


def pack(batch: FrameBatch) -> dict[str, Any]:
    """The body as plain values for msgpack.

    Frames are joined by newlines; where one contains a newline (or is binary and might) their lengths
    travel instead.
    """
    joined = b"\n".join(batch.frames)
    lengths: list[int] | None = None
    if joined.count(b"\n") != len(batch.frames) - 1:
        joined = b"".join(batch.frames)
        lengths = [len(frame) for frame in batch.frames]
    return {
        "v": VERSION,
        "exchange": batch.exchange,
        "connection": batch.connection,
        "number": batch.number,
        "epoch": batch.epoch,
        "arrivals": [list(run) for run in batch.arrivals],
        "lengths": lengths,
        "frames": zstandard.ZstdCompressor(level=LEVEL).compress(joined),
    }


def unpack(body: dict[str, Any]) -> FrameBatch:
    """The batch, byte for byte. Raises `FrameRejected` for another version or a damaged body."""
    if body.get("v") != VERSION:
        raise FrameRejected(f"batch version {body.get('v')!r}, this worker reads {VERSION}")
    try:
        joined = zstandard.ZstdDecompressor().decompress(body["frames"], max_output_size=MAX_BODY_BYTES)
        lengths = body["lengths"]
        if lengths is None:
            frames = tuple(joined.split(b"\n"))
        else:
            ends = accumulate(lengths, initial=0)
            frames = tuple(joined[start:end] for start, end in pairwise(ends))
        return FrameBatch(
            exchange=body["exchange"],
            connection=body["connection"],
            number=body["number"],
            epoch=body["epoch"],
            frames=frames,
            arrivals=tuple((count, ns) for count, ns in body["arrivals"]),
        )
    except (KeyError, TypeError, ValueError, zstandard.ZstdError) as error:
        raise FrameRejected(f"damaged batch: {error}") from None
