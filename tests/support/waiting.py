"""Waiting for what another thread or process will bring about."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(happened: Callable[[], T], *, within_s: float = 15.0) -> T:
    """The first true value of `happened`; fails the test when none comes in time."""
    deadline = time.monotonic() + within_s
    while not (value := happened()):
        assert time.monotonic() < deadline, f"did not happen within {within_s} s"
        time.sleep(0.01)
    return value
