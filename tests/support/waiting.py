"""Waiting for what another thread or process will bring about."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(happened: Callable[[], T], *, within_s: float = 15.0, why: Callable[[], str] = str) -> T:
    """The first true value of `happened`; fails the test when none comes in time, saying what `why` then tells."""
    deadline = time.monotonic() + within_s
    while not (value := happened()):
        assert time.monotonic() < deadline, f"did not happen within {within_s} s {why()}"
        time.sleep(0.01)
    return value
