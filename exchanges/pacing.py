"""When a connection may speak and when it must be replaced: rules all venues' sessions share."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from zlib import crc32

from exchanges.venue import NOTHING, Event, Limits, Rotate
from livermore.core.trade import Nanos

SECOND = 1_000_000_000

_HEADROOM = 1.25
"""Pongs count as messages too at some venues, so a fifth of the allowance stays unused."""

_EARLIEST, _LATEST = 20 / 24, 23 / 24
"""Of a connection's lifetime: connections opened together must not be replaced together."""


class Pace:
    """Spaces messages evenly, somewhat below the venue's limit."""

    __slots__ = ("_free_ns", "_gap_ns")

    def __init__(self, messages_per_second: float) -> None:
        self._gap_ns = int(SECOND * _HEADROOM / float(messages_per_second))
        self._free_ns = 0

    def is_free(self, now: Nanos) -> bool:
        """Whether a message may be sent at `now`."""
        return now >= self._free_ns

    def spend(self, now: Nanos) -> None:
        """A message is sent at `now`: the next has to wait."""
        self._free_ns = now + self._gap_ns


def rotation_ns(limits: Limits, natives: Collection[str], opened: Nanos) -> int | None:
    """When to open a successor: late in the lifetime, jittered by what the connection carries.

    The jitter is a hash of the native symbols, so the same connection always answers the same.
    """
    if limits.connection_lifetime_s is None:
        return None
    jitter = crc32(",".join(sorted(natives)).encode()) / 2**32
    share = _EARLIEST + (_LATEST - _EARLIEST) * jitter
    return opened + int(limits.connection_lifetime_s * share * SECOND)


class Lifetime:
    """Tells once that a connection needs a successor: from then on it is under way."""

    __slots__ = ("_is_ending", "_until_ns")

    def __init__(self) -> None:
        self._until_ns: int | None = None
        self._is_ending = False

    def begin(self, limits: Limits, natives: Collection[str], opened: Nanos) -> None:
        """The connection is open, and carries `natives`."""
        self._until_ns = rotation_ns(limits, natives, opened)

    def judge(self, now: Nanos) -> Sequence[Event]:
        """`Rotate` when `rotation_ns` has come."""
        if self._until_ns is None or now < self._until_ns:
            return NOTHING
        return self.end("the connection's lifetime is nearly over")

    def end(self, why: str) -> Sequence[Event]:
        """`Rotate` now, whatever the age."""
        if self._is_ending:
            return NOTHING
        self._is_ending = True
        return [Rotate(why)]
