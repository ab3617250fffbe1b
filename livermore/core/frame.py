"""Raw frames and the numbered batches in which they travel."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NewType

BatchId = NewType("BatchId", str)

CANARY = "canary"
"""The connection of batches that hold no frame and only show that the way is free; also their trade's symbol."""


@dataclass(frozen=True, slots=True)
class FrameBatch:
    """Frames of one connection in the order received, as the venue sent them.

    `number` counts batches of this connection from 0 without holes; `epoch` is the lease's.
    `arrivals` are runs (how many frames, when received in ns UTC by our clock): frames that one
    read of the socket brought share a time.
    """

    exchange: str
    connection: str
    number: int
    epoch: int
    frames: tuple[bytes, ...]
    arrivals: tuple[tuple[int, int], ...]

    @property
    def id(self) -> BatchId:
        """`<connection>:<number>`, unique for ever because connection ids are random."""
        return BatchId(f"{self.connection}:{self.number}")

    @property
    def received_ns(self) -> int:
        """When the newest frame was received, ns UTC by our clock; 0 for an empty batch."""
        return self.arrivals[-1][1] if self.arrivals else 0


def runs(ids: Iterable[str]) -> str:
    """Batch ids in short, by connection: `AbC:3-7,9`; what is no batch's id stands as it is."""
    numbers: dict[str, list[int]] = {}
    others = []
    for one in ids:
        connection, _, number = one.rpartition(":")
        if connection and number.isdigit():
            numbers.setdefault(connection, []).append(int(number))
        else:
            others.append(one)
    return " ".join([*(f"{c}:{_joined(sorted(n))}" for c, n in sorted(numbers.items())), *sorted(others)])


def _joined(numbers: list[int]) -> str:
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in found)
