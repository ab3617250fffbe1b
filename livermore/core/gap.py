"""An interval in which trades may be missing, and how it came about."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Cause(StrEnum):
    """Why trades may be missing."""

    START = "start"  # the stream began inside a bucket
    DISCONNECT = "disconnect"
    SEQUENCE = "sequence"  # the venue's own numbering jumped
    IDS = "ids"  # consecutive trade ids have a hole
    BATCH = "batch"  # a batch number never arrived
    SHED = "shed"  # we dropped load
    REFUSED = "refused"  # the venue refused a topic
    FAILOVER = "failover"  # the state Redis began anew or lost what it held


@dataclass(frozen=True, slots=True)
class Gap:
    """`[from_ns, to_ns)` in ns UTC at an exchange; no `symbols` (canonical) means all it streams."""

    exchange: str
    from_ns: int
    to_ns: int
    cause: Cause
    symbols: tuple[str, ...] = ()
    connection: str = ""
