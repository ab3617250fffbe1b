"""The line that shows how far a long command has come."""

from __future__ import annotations

import io
import time

from exchanges.management.progress import EVERY_S, Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_line_is_rewritten_at_most_once_a_second_and_its_rest_is_wiped():
    terminal = Terminal()
    progress = Progress(terminal)
    began = time.monotonic()
    while time.monotonic() - began < EVERY_S * 1.5:
        progress("a longer line" if time.monotonic() - began < EVERY_S / 2 else "short")
        time.sleep(0.01)
    progress.end()
    assert terminal.getvalue() == "\ra longer line\rshort        \n"


def test_nothing_is_shown_before_its_time():
    terminal = Terminal()
    progress = Progress(terminal, after_s=60)
    progress("working")
    progress.end()
    assert terminal.getvalue() == ""


def test_nothing_is_shown_where_nobody_looks():
    elsewhere = io.StringIO()
    progress = Progress(elsewhere)
    progress("working")
    progress.end()
    assert elsewhere.getvalue() == ""
