"""How far a long command has come: one line that is rewritten once a second, on a terminal only."""

from __future__ import annotations

import time
from typing import TextIO

EVERY_S = 1.0


class Progress:
    """Shows nothing before `after_s` seconds have passed, nor where nobody looks."""

    def __init__(self, terminal: TextIO, *, after_s: float = 0.0) -> None:
        self._terminal = terminal
        self._due_at = time.monotonic() + after_s
        self._width = 0
        self._is_seen = terminal.isatty()

    def __call__(self, line: str) -> None:
        """Show this, unless something was shown within the last second."""
        if self._is_seen and time.monotonic() >= self._due_at:
            self._terminal.write(f"\r{line:<{self._width}}")
            self._terminal.flush()
            self._width, self._due_at = len(line), time.monotonic() + EVERY_S

    def end(self) -> None:
        """Leave the line; what follows begins on a fresh one."""
        if self._width:
            self._terminal.write("\n")
            self._width = 0
