"""Lifelines of the stream hosts on this machine: a file lock each, which the kernel drops when its process dies.

Redis cannot tell a dead holder of a lease from a slow one, which is why a lease has to run out. The kernel
can. A lifeline only ever shortens the wait: one that is absent, unreadable, copied, or of another machine
or boot says nothing, and then the lease runs out as before.
"""

from __future__ import annotations

import fcntl
import logging
import os
import platform
import time
from functools import cache
from pathlib import Path

from django.conf import settings

from livermore.logs import event as log_event

log = logging.getLogger(__name__)

SWEPT_AFTER_S = 60.0
"""Twice the time a lease lasts: whoever left a lifeline so long ago holds none."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Lifeline:
    """One owner's; `hold` begins it, `touch` keeps its file from being swept, `let_go` is the end in good order."""

    def __init__(self, owner: str) -> None:
        self._owner, self._path = owner, _path(owner)
        self._descriptor: int | None = None

    def hold(self) -> None:
        """Begin, once. Where the folder takes no lock the owner lives without: its lease then runs out."""
        if self._descriptor is not None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            _sweep(self._path.parent)
            self._descriptor = _locked(self._path)
        except OSError as error:
            log_event(log, "lifeline.none", logging.WARNING, owner=self._owner, error=error)

    def touch(self) -> None:
        """Say when the owner was last alive."""
        if self._descriptor is not None:
            os.utime(self._descriptor)

    def let_go(self) -> None:
        """End without looking dead: the file goes first."""
        if self._descriptor is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None


def is_dead(owner: str) -> bool:
    """Is it certain that this owner lived on this machine and its process is gone?

    The lock asked for is shared, so that two who ask at once do not take each other for the owner.
    """
    try:
        descriptor = os.open(_path(owner), os.O_RDONLY)
    except OSError:
        return False
    try:
        return os.read(descriptor, 200) == _mark(descriptor) and _is_unlocked(descriptor)
    finally:
        os.close(descriptor)


def _locked(path: Path) -> int:
    """A new file, first locked and then marked: an unmarked one never counts as dead."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(descriptor, _mark(descriptor))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _mark(descriptor: int) -> bytes:
    """This boot of this machine and this very file: a copied folder must not make its owners look dead."""
    return f"{_boot()} {os.fstat(descriptor).st_ino}".encode()


@cache
def _boot() -> str:
    return _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else platform.node()


def _is_unlocked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _sweep(folder: Path) -> None:
    """Remove what the dead left long ago."""
    for path in folder.glob("*.lock"):
        try:
            if time.time() - path.stat().st_mtime < SWEPT_AFTER_S:
                continue
            descriptor = os.open(path, os.O_RDONLY)
        except OSError:
            continue  # somebody else swept it
        try:
            if _is_unlocked(descriptor):
                path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)


def _path(owner: str) -> Path:
    return Path(settings.VAR_DIR) / "leases" / f"{owner.replace('/', '@')}.lock"
