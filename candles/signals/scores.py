"""How signals of a kind went: hit rate, time to catch up, excursions. Pure, over closed events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import ceil
from operator import attrgetter
from statistics import median

CONVERGED = "converged"
HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Graded:
    """One closed event; bps are numbers, times ms."""

    kind: str
    leader: str
    follower: str
    opened_ms: int
    outcome: str
    duration_ms: int
    peak_bps: float
    mfe_bps: float
    mae_bps: float

    @property
    def hour(self) -> int:
        """Of the day (UTC) in which it opened."""
        return self.opened_ms // HOUR_MS % 24

    @property
    def place(self) -> tuple[str, str, str, int]:
        """Kind, pair, hour: what is scored together."""
        return self.kind, self.leader, self.follower, self.hour


@dataclass(frozen=True, slots=True)
class Score:
    """Of `count` closed events. A hit is one that converged; `catch_up_s` is the median of the hits' lives.

    Lives are of all of them: their median is the half-life of what is told.
    """

    count: int
    hits: int
    catch_up_s: float | None
    life_p50_s: float
    life_p90_s: float
    peak_p50_bps: float
    mfe_p50_bps: float
    mae_p50_bps: float

    @property
    def hit_rate(self) -> float:
        """Share of hits."""
        return self.hits / self.count


def score(of: Sequence[Graded]) -> Score:
    """Of one event or more."""
    hits = [each.duration_ms for each in of if each.outcome == CONVERGED]
    lives = sorted(each.duration_ms for each in of)
    return Score(
        count=len(of),
        hits=len(hits),
        catch_up_s=median(hits) / 1_000 if hits else None,
        life_p50_s=median(lives) / 1_000,
        life_p90_s=lives[ceil(0.9 * len(lives)) - 1] / 1_000,
        peak_p50_bps=median(each.peak_bps for each in of),
        mfe_p50_bps=median(each.mfe_bps for each in of),
        mae_p50_bps=median(each.mae_bps for each in of),
    )


def scoreboard(events: Iterable[Graded]) -> dict[tuple[str, str, str, int], Score]:
    """By kind, leader, follower and hour of the day."""
    ordered = sorted(events, key=attrgetter("place"))
    return {place: score(list(group)) for place, group in groupby(ordered, key=attrgetter("place"))}
