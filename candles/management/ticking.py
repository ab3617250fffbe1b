"""A line about work under way: rewritten in place on a terminal, else a new one at least every two seconds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from livermore.core.errors import StoreUnavailable

ON_A_TERMINAL_S, ELSEWHERE_S = 0.5, 1.8


@contextmanager
def ticking(stream: TextIO, line: Callable[[], str]) -> Iterator[None]:
    """Shows `line()` again and again while the block works, however long a single step of it takes."""
    is_seen = stream.isatty()
    over = threading.Event()
    thread = threading.Thread(target=_tick, args=(stream, line, over, is_seen), name="ticking", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        if is_seen:
            stream.write("\r\x1b[K")  # what follows takes its place
            stream.flush()


def _tick(stream: TextIO, line: Callable[[], str], over: threading.Event, is_seen: bool) -> None:
    while not over.wait(ON_A_TERMINAL_S if is_seen else ELSEWHERE_S):
        try:
            shown = line()
        except StoreUnavailable:
            continue  # the work itself will say so
        stream.write(f"\r{shown}\x1b[K" if is_seen else f"{shown}\n")
        stream.flush()
