"""What the children wrote: errors worth showing to a person, and files kept from growing for ever."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

LARGEST_BYTES = 50_000_000
_SHOWN_PER_READ = 3
_WORTH_SHOWING = re.compile(r"\b(ERROR|CRITICAL)\b|^\w[\w.]*(Error|Exception): ")


class ErrorTail:
    """Reads what was added to the logs of a folder and picks the errors."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._positions: dict[Path, int] = {}

    def new_errors(self) -> Iterator[str]:
        """`<log>: <line>` for the first errors of each log since the last call, then how many more."""
        for log in sorted(self._folder.glob("*.log")):
            lines = [line for line in self._added(log) if _WORTH_SHOWING.search(line)]
            for line in lines[:_SHOWN_PER_READ]:
                yield f"{log.stem}: {line[:300]}"
            if len(lines) > _SHOWN_PER_READ:
                yield f"{log.stem}: {len(lines) - _SHOWN_PER_READ} more in {log}"

    def _added(self, log: Path) -> list[str]:
        with suppress(OSError), log.open("rb") as file:
            size = file.seek(0, 2)
            begin = self._positions.get(log, 0)
            # A shorter file was begun anew.
            file.seek(begin if begin <= size else 0)
            text = file.read(1_000_000)
            whole = text.rpartition(b"\n")[0] + b"\n" if b"\n" in text else b""
            self._positions[log] = file.tell() - len(text) + len(whole)
            return whole.decode(errors="replace").splitlines()
        return []


def trim(folder: Path, largest_bytes: int = LARGEST_BYTES) -> None:
    """Move the content of overgrown logs to `<name>.log.1`; writers append, so they go on at the start."""
    for log in folder.glob("*.log"):
        if log.stat().st_size > largest_bytes:
            shutil.copyfile(log, log.with_suffix(".log.1"))
            with log.open("r+b") as file:
                file.truncate()
