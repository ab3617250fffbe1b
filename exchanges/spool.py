"""Batches on disk while the broker is away: written in order, read in order, bounded, and found by a successor.

    <var>/spool/<exchange>/<epoch>.<token>/00000001.seg …

A folder belongs to whoever holds its lock, which the kernel drops when that process dies. The next stream of the
exchange on this machine then adopts the folder and publishes what is in it before anything of its own. Batches keep
their ids, so that one which was published before its owner died is stored once; they get the epoch of the adopter,
because their own holder is certainly gone and where trades have no ids an older epoch is refused.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import secrets
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from exchanges.segment import Record, Segment
from livermore.core.errors import FrameRejected
from livermore.core.frame import FrameBatch
from livermore.logs import event

log = logging.getLogger(__name__)

MAX_BYTES = 2 * 1024**3
LARGEST_SEGMENT_BYTES = 32 * 1024**2
SEGMENTS = 16
"""At least so many make up the bound: what is shed is a whole segment, the oldest."""
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(eq=False)
class _Folder:
    """A locked folder of segments; `is_own` when its batches are ours."""

    path: Path
    lock: int
    is_own: bool
    segments: int = 0

    def leave(self) -> None:
        """Let go; an empty folder disappears."""
        with contextlib.suppress(OSError):  # it still holds batches, for whoever comes next
            self.path.rmdir()
        os.close(self.lock)


class Spool:
    """A queue of batches on disk, of one stream. Whoever calls holds one lock for all methods.

    `len` counts batches, `bytes` is what their files take, `oldest_ns` when the oldest frame was received; these may
    be read without a lock.
    """

    def __init__(self, root: Path, epoch: int, *, max_bytes: int = MAX_BYTES) -> None:
        self._root, self._epoch, self._max_bytes = root, epoch, max_bytes
        self._largest_segment = min(LARGEST_SEGMENT_BYTES, max_bytes // SEGMENTS)
        self._own: _Folder | None = None
        self._segments: deque[tuple[Segment, _Folder]] = deque()
        self._made = 0
        self._count = 0
        self.bytes = 0
        self.oldest_ns: int | None = None

    def __len__(self) -> int:
        return self._count

    # ---- in and out ------------------------------------------------------------------------------

    def append(self, body: Mapping[str, Any]) -> Record:
        """Write a packed batch behind all others. Raises `OSError`, and has not taken it then."""
        segment = self._writable()
        before = segment.size
        record = segment.append(body)
        self.bytes += segment.size - before
        self._count += 1
        self._look()
        return record

    def first(self) -> tuple[Record, FrameBatch] | None:
        """The oldest batch that can be read, and what `drop` wants to be told; None when there is none."""
        while self._count:
            segment, folder = self._segments[0]
            record = segment.records[0]
            try:
                batch = segment.read(record)
            except (FrameRejected, OSError) as error:
                event(log, "spool.unreadable", logging.ERROR, error=error)
                self.drop(record)
            else:
                return record, batch if folder.is_own else replace(batch, epoch=self._epoch)
        return None

    def drop(self, record: Record) -> None:
        """It has been published; nothing happens when it has been shed meanwhile."""
        segment = self._segments[0][0] if self._count else None
        if segment is not None and segment.records[0] is record:
            segment.records.popleft()
            self._count -= 1
            if not segment.records:
                self._end_first()
            self._look()

    def overflow(self, error: OSError | None = None) -> Iterator[FrameBatch]:
        """What has to go, oldest first, until the bound holds; with `error`, one segment where the disk is full."""
        is_full = error is not None and error.errno in _FULL
        while len(self._segments) > 1 and (is_full or self.bytes > self._max_bytes):
            is_full = False
            segment, _ = self._segments[0]
            for record in segment.records:
                try:
                    yield segment.read(record)
                except (FrameRejected, OSError) as trouble:
                    event(log, "spool.unreadable", logging.ERROR, error=trouble)
            self._count -= len(segment.records)
            self._end_first()
            self._look()

    def sync(self) -> None:
        """Have the disk hold what was appended."""
        if self._segments:
            self._segments[-1][0].sync()

    # ---- the dead and the end --------------------------------------------------------------------

    def adopt(self) -> None:
        """Put what dead owners left before everything else, the oldest epoch first."""
        found: list[tuple[Segment, _Folder]] = []
        for path in sorted(self._root.glob("[!.]*/")):
            if self._own is None or path != self._own.path:
                found += self._taken_over(path)
        self._segments.extendleft(reversed(found))
        self._look()

    def close(self) -> None:
        """Leave what there still is to the next owner."""
        self.sync()
        for segment, _ in self._segments:
            segment.close()
        for folder in {id(f): f for f in (*(f for _, f in self._segments), self._own) if f is not None}.values():
            folder.leave()
        self._segments.clear()
        self._own, self._count, self.bytes = None, 0, 0
        self._look()

    def _taken_over(self, path: Path) -> list[tuple[Segment, _Folder]]:
        try:
            folder = _Folder(path, _locked(path), is_own=False)
        except OSError:
            return []  # its owner lives, or has just left
        found = []
        for file in sorted(path.glob("*.seg")):
            try:
                segment, useless = Segment.found(file)
            except (FrameRejected, OSError) as error:
                event(log, "spool.unreadable", logging.ERROR, file=file, error=error)
                file.rename(file.with_suffix(".unread"))
                continue
            if useless:
                event(log, "spool.torn", logging.WARNING, file=file, kept=len(segment.records), cut_bytes=useless)
            if not segment.records:
                segment.remove()
                continue
            found.append((segment, folder))
            folder.segments += 1
            self._count += len(segment.records)
            self.bytes += segment.size
        if found:
            event(log, "spool.adopted", logging.WARNING, folder=path, batches=sum(len(s.records) for s, _ in found))
        else:
            folder.leave()
        return found

    # ---- files -----------------------------------------------------------------------------------

    def _writable(self) -> Segment:
        """The segment that the next batch goes to."""
        newest = self._segments[-1] if self._segments else None
        if newest is not None and newest[1].is_own and newest[0].size < self._largest_segment:
            return newest[0]
        if self._own is None:
            self._own = _new_folder(self._root, f"{self._epoch:010d}.{secrets.token_hex(4)}")
        if newest is not None:
            newest[0].sync()
        self._made += 1
        segment = Segment.create(self._own.path / f"{self._made:08d}.seg")
        os.fsync(self._own.lock)
        self._own.segments += 1
        self._segments.append((segment, self._own))
        self.bytes += segment.size
        return segment

    def _end_first(self) -> None:
        segment, folder = self._segments.popleft()
        self.bytes -= segment.size
        segment.remove()
        folder.segments -= 1
        if not folder.segments and not folder.is_own:
            folder.leave()

    def _look(self) -> None:
        self.oldest_ns = self._segments[0][0].records[0].oldest_ns if self._count else None


def _new_folder(root: Path, name: str) -> _Folder:
    """Locked before it has its name: nobody takes it for a dead owner's."""
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    unnamed = root / f".{name}"
    unnamed.mkdir(mode=0o700)
    lock = _locked(unnamed)
    return _Folder(unnamed.rename(root / name), lock, is_own=True)


def _locked(path: Path) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
