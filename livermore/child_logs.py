"""What the children wrote: errors worth showing to a person, and files kept from growing for ever."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

LARGEST_BYTES = 50_000_000
_SHOWN_PER_READ = 3
_REPEAT_AFTER_S = 60.0
_EXPECTED = "Service Unavailable: /health/"
"""Whoever asks for health is told there what is wrong."""
_STAMP = re.compile(r"^\S+Z ")
_PARTICULARS = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|\d+")
_WORTH_SHOWING = re.compile(r"\b(ERROR|CRITICAL)\b|^\w[\w.]*(Error|Exception): ")


class ErrorTail:
    """Reads what was added to the logs of a folder and picks the errors."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock
        # What an earlier run left is no news.
        self._positions = {log: log.stat().st_size for log in folder.glob("*.log")}
        self._shown: dict[str, float] = {}

    def new_errors(self) -> Iterator[str]:
        """`<log>: <line>` for the first errors of each log since the last call; alike ones once a minute."""
        now = self._clock()
        self._shown = {line: at for line, at in self._shown.items() if now - at < _REPEAT_AFTER_S}
        for log in sorted(self._folder.glob("*.log")):
            shown = 0
            for line in (_STAMP.sub("", line) for line in self._added(log) if _is_worth_showing(line)):
                alike = f"{log.stem}: {_PARTICULARS.sub('#', line)}"
                if alike not in self._shown and shown < _SHOWN_PER_READ:
                    shown += 1
                    self._shown[alike] = now
                    yield f"{log.stem}: {line[:300]}"

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


def _is_worth_showing(line: str) -> bool:
    return bool(_WORTH_SHOWING.search(line)) and _EXPECTED not in line


def trim(folder: Path, largest_bytes: int = LARGEST_BYTES) -> None:
    """Move the content of overgrown logs to `<name>.log.1`; writers append, so they go on at the start."""
    for log in folder.glob("*.log"):
        if log.stat().st_size > largest_bytes:
            shutil.copyfile(log, log.with_suffix(".log.1"))
            with log.open("r+b") as file:
                file.truncate()
