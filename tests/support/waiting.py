"""Waiting for what another thread or process will bring about."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

LENIENCE = 4
"""A busy machine may take so many times what an idle one does; only a test that fails waits that long."""


def until(happened: Callable[[], T], *, within_s: float = 15.0, why: Callable[[], str] = str) -> T:
    """The first true value of `happened`; fails the test when none comes in time, saying what `why` then tells.

    `within_s` is what an idle machine needs at most: how long something takes is measured by the benchmark.
    """
    deadline = time.monotonic() + LENIENCE * within_s
    while not (value := happened()):
        assert time.monotonic() < deadline, f"did not happen within {LENIENCE} × {within_s} s {why()}"
        time.sleep(0.01)
    return value
