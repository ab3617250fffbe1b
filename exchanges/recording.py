"""The file format of recordings and its writer: raw frames in rotating zstd files, each readable on its own.

A file is one zstd frame of JSON lines. The first line is the `Header`. Every other line is a market data frame,
`{"t": received ns UTC, "c": connection, "text": …}` (binary frames carry `b64` instead of `text`), or a loss that the
stream noticed, `{"gap": {…}}`. No address is written but the host, so a token in one cannot be; what follows
the first file lies beside it as `name.001.zst`, `name.002.zst` … `exchanges.recorded` reads it.
"""

from __future__ import annotations

import threading
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path

import msgspec
import zstandard

from livermore.core.errors import InvalidInput
from livermore.core.frame import FrameBatch
from livermore.core.gap import Gap

FORMAT = 1
LEVEL = 3
MAX_PART_BYTES = 64 * 1024 * 1024
"""A part that has grown so large, compressed, is followed by another."""


class Listed(msgspec.Struct, frozen=True, omit_defaults=True):
    """A recorded symbol; `quote_precision` where the venue cuts quote amounts."""

    native: str
    symbol: str
    quote_precision: int | None = None


class Header(msgspec.Struct, frozen=True):
    """Says what a file holds; repeated in every part. `venue_host` is whose frames these are."""

    livermore_recording: int
    recording: str
    part: int
    exchange: str
    venue_host: str
    started_ns: int
    versions: dict[str, str]
    symbols: tuple[Listed, ...]


_encode = msgspec.json.Encoder().encode


def part_path(first: Path, part: int) -> Path:
    """Where a part lies: the first under the given name, the others beside it."""
    return first if part == 0 else first.with_name(f"{first.stem}.{part:03d}{first.suffix}")


class Writer:
    """Writes batches and gaps, from any thread. What a call has written survives a crash of the process.

    Raises `InvalidInput` when the recording's name is taken, `OSError` when the disk does not take it.
    """

    def __init__(self, first: Path, header: Header, *, max_part_bytes: int = MAX_PART_BYTES) -> None:
        for path in (first, part_path(first, 1)):
            if path.exists():
                raise InvalidInput(f"{path} exists already; give a name that is free")
        self._first, self._header, self._max_part_bytes = first, header, max_part_bytes
        self._lock = threading.Lock()
        self.parts, self.frames, self.gaps = 0, 0, 0
        self._past_bytes = 0
        self._open()

    def write(self, batch: FrameBatch) -> None:
        """Append a batch's frames."""
        received = [ns for number, ns in batch.arrivals for _ in range(number)]
        lines = [_line(batch.connection, ns, frame) for ns, frame in zip(received, batch.frames, strict=True)]
        self._append(lines)
        self.frames += len(lines)

    def note(self, gap: Gap) -> None:
        """Append that something may be missing."""
        told = {"cause": str(gap.cause), "from_ns": gap.from_ns, "to_ns": gap.to_ns}
        self._append([_encode({"gap": {**told, "c": gap.connection, "symbols": gap.symbols}})])
        self.gaps += 1

    def close(self) -> None:
        """End the last part properly."""
        with self._lock:
            if not self._file.closed:
                self._end()

    @property
    def written_bytes(self) -> int:
        """Compressed, of all parts."""
        return self._past_bytes + (0 if self._file.closed else self._file.tell())

    def _append(self, lines: Sequence[bytes]) -> None:
        with self._lock:
            if self._file.tell() >= self._max_part_bytes:
                self._end()
                self._open()
            self._put(lines)

    def _put(self, lines: Sequence[bytes]) -> None:
        compressed = self._compressor.compress(b"\n".join(lines) + b"\n")
        self._file.write(compressed + self._compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))
        self._file.flush()

    def _open(self) -> None:
        self._compressor = zstandard.ZstdCompressor(level=LEVEL).compressobj()
        self._file = part_path(self._first, self.parts).open("xb")
        self._put([_encode(msgspec.structs.replace(self._header, part=self.parts))])
        self.parts += 1

    def _end(self) -> None:
        self._file.write(self._compressor.flush())
        self._past_bytes += self._file.tell()
        self._file.close()


def _line(connection: str, received_ns: int, frame: bytes) -> bytes:
    try:
        return _encode({"t": received_ns, "c": connection, "text": frame.decode()})
    except UnicodeDecodeError:
        return _encode({"t": received_ns, "c": connection, "b64": b64encode(frame).decode()})
