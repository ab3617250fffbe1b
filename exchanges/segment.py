"""One append-only file of a spool: records of batches, each with its length and checksum, read in the order written.

    file    magic (8 bytes) record*
    record  length (4) crc32 (4) oldest frame received, ns (8), then the body of `exchanges.wire` as msgpack

A process may die between two bytes. What was written whole before is read; a torn end is cut off.
"""

from __future__ import annotations

import os
import struct
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import msgpack

from exchanges.wire import MAX_BODY_BYTES, unpack
from livermore.core.errors import FrameRejected
from livermore.core.frame import FrameBatch

MAGIC = b"LVSPOOL1"
_HEAD = struct.Struct(">IIQ")


@dataclass(frozen=True, slots=True)
class Record:
    """Where a batch lies in its segment, and when its oldest frame was received."""

    at: int
    length: int
    crc: int
    oldest_ns: int

    @property
    def end(self) -> int:
        """Where the next one begins."""
        return self.at + _HEAD.size + self.length


class Segment:
    """A file of its own, opened for as long as it has records; `records` are those not dropped, oldest first."""

    def __init__(self, path: Path, descriptor: int, size: int, records: deque[Record]) -> None:
        self.path, self.size, self.records = path, size, records
        self._descriptor = descriptor
        self._is_synced = True

    @classmethod
    def create(cls, path: Path) -> Segment:
        """A new and empty one, for its owner's eyes only."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(descriptor, MAGIC)
        return cls(path, descriptor, len(MAGIC), deque())

    @classmethod
    def found(cls, path: Path) -> tuple[Segment, int]:
        """What a dead owner left, and how many bytes of it are of no use; raises `FrameRejected` for another format.

        Heads are read here and bodies when their turn comes.
        """
        descriptor = os.open(path, os.O_RDWR)
        size = os.fstat(descriptor).st_size
        if not MAGIC.startswith(os.pread(descriptor, len(MAGIC), 0)):
            os.close(descriptor)
            raise FrameRejected(f"{path} is not a spool of this version")
        records = deque(_scan(descriptor, size))
        end = records[-1].end if records else min(size, len(MAGIC))
        return cls(path, descriptor, end, records), size - end

    def append(self, body: Mapping[str, Any]) -> Record:
        """Write a packed batch behind the others. Raises `OSError`; nothing of it is left then."""
        packed = msgpack.packb(body)
        oldest_ns = body["arrivals"][0][1] if body["arrivals"] else 0
        record = Record(self.size, len(packed), crc32(packed), oldest_ns)
        whole = _HEAD.pack(record.length, record.crc, oldest_ns) + packed
        try:
            written = os.pwrite(self._descriptor, whole, self.size)
            if written < len(whole):
                raise OSError(f"{self.path} took {written} of {len(whole)} bytes")
        except OSError:
            os.ftruncate(self._descriptor, self.size)
            raise
        self.size = record.end
        self.records.append(record)
        self._is_synced = False
        return record

    def read(self, record: Record) -> FrameBatch:
        """The batch, byte for byte. Raises `FrameRejected` when it is damaged, `OSError` when it cannot be read."""
        body = os.pread(self._descriptor, record.length, record.at + _HEAD.size)
        if crc32(body) != record.crc:
            raise FrameRejected(f"damaged at byte {record.at} of {self.path}")
        try:
            return unpack(msgpack.unpackb(body))
        except (ValueError, msgpack.UnpackException) as error:
            raise FrameRejected(f"no batch at byte {record.at} of {self.path}: {error}") from None

    def sync(self) -> None:
        """Have the disk hold what was written."""
        if not self._is_synced:
            self._is_synced = True
            os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Let go of the file, which stays."""
        os.close(self._descriptor)

    def remove(self) -> None:
        """End, with the file."""
        self.close()
        self.path.unlink(missing_ok=True)


def _scan(descriptor: int, size: int) -> Iterator[Record]:
    """Records as far as they are whole; only the last body is checked, for a torn one is the last."""
    at, held = len(MAGIC), None
    while at + _HEAD.size <= size:
        length, crc, oldest_ns = _HEAD.unpack(os.pread(descriptor, _HEAD.size, at))
        record = Record(at, length, crc, oldest_ns)
        if length > MAX_BODY_BYTES or record.end > size:
            break
        if held is not None:
            yield held
        at, held = record.end, record
    if held is not None and crc32(os.pread(descriptor, held.length, held.at + _HEAD.size)) == held.crc:
        yield held
