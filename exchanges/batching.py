"""When the frames of a connection become a batch: by age, by count, by bytes, whichever comes first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from livermore.core.frame import FrameBatch

MAX_AGE_NS = 100_000_000
MAX_FRAMES = 2_000
MAX_BYTES = 512 * 1024
BUSY_FROM = 3
OLDEST_NS = 2_000_000_000
"""So old a batch becomes at most while the broker does not keep up."""


@dataclass
class Batcher:
    """Collects the frames of one connection and numbers its batches from 0 without holes."""

    exchange: str
    connection: str
    epoch: int
    max_age_ns: int = MAX_AGE_NS

    def __post_init__(self) -> None:
        self.number = 0
        self._clear()

    def _clear(self) -> None:
        self._frames: list[bytes] = []
        self._arrivals: list[tuple[int, int]] = []
        self._bytes = 0

    def add(self, frames: Sequence[bytes], received_ns: int) -> None:
        """Take the frames that one read of the socket brought."""
        if frames:
            self._frames += frames
            self._arrivals.append((len(frames), received_ns))
            self._bytes += sum(map(len, frames))

    def is_due(self, now_ns: int) -> bool:
        """Must the batch leave now?"""
        if not self._frames:
            return False
        return (
            len(self._frames) >= MAX_FRAMES
            or self._bytes >= MAX_BYTES
            or now_ns - self._arrivals[0][1] >= self.max_age_ns
        )

    def due_in_s(self, now_ns: int) -> float:
        """How long its age allows the batch to wait; not negative, for ever when there is nothing."""
        return max(0.0, (self._arrivals[0][1] + self.max_age_ns - now_ns) / 1e9) if self._arrivals else float("inf")

    def take(self) -> FrameBatch | None:
        """What has been collected, as the next batch; None when there is nothing."""
        if not self._frames:
            return None
        batch = FrameBatch(
            exchange=self.exchange,
            connection=self.connection,
            number=self.number,
            epoch=self.epoch,
            frames=tuple(self._frames),
            arrivals=tuple(self._arrivals),
        )
        self.number += 1
        self._clear()
        return batch


class Ageing:
    """How old batches become: `MAX_AGE_NS`, and more while more than `BUSY_FROM` of them wait to be published.

    A broker an ocean away takes one message in each round trip, whatever is in it: 6 a second at 150 ms, while one
    connection makes 10. Fewer, larger ones carry the same frames.
    """

    def __init__(self) -> None:
        self.age_ns = MAX_AGE_NS

    def saw(self, waiting: int) -> None:
        """So many batches wait, counted whenever one is made."""
        if waiting > BUSY_FROM:
            self.age_ns = min(OLDEST_NS, self.age_ns * 5 // 4)
        elif waiting <= 1:
            self.age_ns = max(MAX_AGE_NS, self.age_ns // 2)
