"""Reading recordings: frames as they were recorded, and the batches in which they are replayed.

Of `exchanges.recording`'s files, and of `.gz` with the lines `{"t": s or null, "conn", "dir", "text" or "b64"}` of
other recorders.
"""

from __future__ import annotations

import zlib
from base64 import b64decode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import count
from pathlib import Path
from typing import IO

import msgspec
import zstandard

from exchanges.batching import Batcher
from exchanges.recording import FORMAT, Header, part_path
from livermore.core.errors import InvalidInput
from livermore.core.frame import FrameBatch

_CHUNK_BYTES = 256 * 1024
_ZSTD, _GZIP = b"\x28\xb5\x2f\xfd", b"\x1f\x8b"
_GZIP_BITS = zlib.MAX_WBITS + 16


class _Row(msgspec.Struct):
    t: int | float | None = None
    c: str = ""
    text: str | None = None
    b64: str | None = None
    gap: dict[str, str | int | list[str]] | None = None
    conn: str = ""
    dir: str = "in"


@dataclass(frozen=True, slots=True)
class RecordedFrame:
    """A frame as it came; `received_ns` is 0 where the recorder did not know."""

    received_ns: int
    connection: str
    payload: bytes


_header = msgspec.json.Decoder(Header).decode
_row = msgspec.json.Decoder(_Row).decode


class Recording:
    """A recording from this file on. `gaps` and `cut` (files that end abruptly) are known after `frames`.

    `exchange` must be given for a recording that does not name its own. Raises `InvalidInput` for a file
    that is no recording.
    """

    def __init__(self, first: Path, exchange: str = "") -> None:
        self._first = first
        self.gaps = 0
        self.cut: list[Path] = []
        try:
            with first.open("rb") as file:
                magic = file.read(4)
        except OSError as error:
            raise InvalidInput(f"{first} cannot be read: {error.strerror}") from None
        self._is_foreign = magic.startswith(_GZIP)
        if self._is_foreign:
            if not exchange:
                raise InvalidInput(f"{first} does not say of which exchange it is; add --exchange NAME")
            self.header = Header(FORMAT, first.name, 0, exchange, "", 0, {}, ())
        elif magic == _ZSTD:
            self.header = self._begun(first, self._lines(first))
            if exchange not in ("", self.header.exchange):
                raise InvalidInput(f"{first} is of {self.header.exchange}, not of {exchange}")
        else:
            raise InvalidInput(f"{first} is no recording; accepted: .zst that `record` wrote, .jsonl.gz of frames")

    def frames(self) -> Iterator[RecordedFrame]:
        """All frames in the order recorded, of this file and of the parts that follow it."""
        if self._is_foreign:
            yield from self._decoded(self._first, self._lines(self._first))
            return
        for number in count():
            path = part_path(self._first, number)
            if not path.exists():
                return
            lines = self._lines(path)
            header = self._begun(path, lines)
            if (header.recording, header.part) != (self.header.recording, self.header.part + number):
                raise InvalidInput(f"{path} is a part of another recording; move it away")
            yield from self._decoded(path, lines)

    def batches(self) -> Iterator[FrameBatch]:
        """The frames as batches, the same every time: limits and recorded times alone decide where one ends.

        Connections have the same names every time, too, and other ones in every recording.
        """
        batchers: dict[str, Batcher] = {}
        for frame in self.frames():
            now_ns = frame.received_ns
            for batcher in batchers.values():
                if batcher.is_due(now_ns):
                    yield from _taken(batcher)
            own = batchers.get(frame.connection)
            if own is None:
                name = replayed_name(self.header, frame.connection)
                own = batchers[frame.connection] = Batcher(self.header.exchange, name, 0)
            own.add([frame.payload], now_ns)
        for batcher in batchers.values():
            yield from _taken(batcher)

    def _begun(self, path: Path, lines: Iterator[bytes]) -> Header:
        try:
            header = _header(next(lines, b""))
        except msgspec.DecodeError:
            raise InvalidInput(f"{path} does not begin like a recording") from None
        if header.livermore_recording != FORMAT:
            raise InvalidInput(f"{path} has format {header.livermore_recording}; this program reads {FORMAT}")
        return header

    def _lines(self, path: Path) -> Iterator[bytes]:
        """Whole lines; what a crash cut off at the end is left out and noted."""
        rest = b""
        with path.open("rb") as file:
            for text in self._text(path, file):
                *whole, rest = (rest + text).split(b"\n")
                yield from whole
        if rest and path not in self.cut:
            self.cut.append(path)

    def _text(self, path: Path, file: IO[bytes]) -> Iterator[bytes]:
        unpacker = zlib.decompressobj(_GZIP_BITS) if self._is_foreign else zstandard.ZstdDecompressor().decompressobj()
        try:
            while chunk := file.read(_CHUNK_BYTES):
                if unpacker.eof:
                    raise InvalidInput(f"{path} goes on after its end")
                yield unpacker.decompress(chunk)
        except (zstandard.ZstdError, zlib.error, OSError) as error:
            raise InvalidInput(f"{path} is damaged: {error}") from None
        if unpacker.unused_data:
            raise InvalidInput(f"{path} goes on after its end")
        if not unpacker.eof:
            self.cut.append(path)

    def _decoded(self, path: Path, lines: Iterable[bytes]) -> Iterator[RecordedFrame]:
        for line in lines:
            try:
                row = _row(line)
                payload = _payload(row)
            except (msgspec.DecodeError, ValueError):
                raise InvalidInput(f"{path} holds a line that is no frame: {line[:60]!r}") from None
            if payload is None:
                self.gaps += 1
            elif row.dir == "in":
                received = row.t or 0
                received_ns = int(received * 1_000_000_000) if self._is_foreign else int(received)
                yield RecordedFrame(received_ns, row.c or row.conn, payload)


def replayed_name(header: Header, connection: str) -> str:
    """What a recorded connection is called in a replay that begins at this part."""
    whole = f"{header.recording}|{header.part}|{connection}"
    return blake2b(whole.encode(), digest_size=9).hexdigest()


def _payload(row: _Row) -> bytes | None:
    """A row's frame, None for a gap; raises `ValueError` when it is neither."""
    if row.text is not None:
        return row.text.encode()
    if row.b64 is not None:
        return b64decode(row.b64, validate=True)
    if row.gap is None:
        raise ValueError("neither frame nor gap")
    return None


def _taken(batcher: Batcher) -> Iterator[FrameBatch]:
    batch = batcher.take()
    if batch is not None:
        yield batch
