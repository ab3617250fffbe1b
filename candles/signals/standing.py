"""How far two markets usually are apart: median and spread of a day's gaps (signals.md §4.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median, quantiles

from candles.signals.reference import move_bps

SAMPLES = 288
"""5-minute gaps of 24 hours."""
LEAST_SAMPLES = 72
LEAST_MAD_BPS = 0.5
SIGMA_PER_MAD = 1.4826
QUANTILE_SAMPLES = 7 * SAMPLES
"""A pair's own quantile is a threshold from seven days on (M72)."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Of one pair, in bps (log) of the first over the second: median and MAD of `samples` gaps.

    `p99` is the 99th percentile of the excess's size over `p99_samples` gaps; None before seven days.
    """

    median_bps: float
    mad_bps: float
    samples: int
    p99_bps: float | None = None
    p99_samples: int = 0

    def excess_bps(self, gap_bps: float) -> float:
        """How far a gap is from the usual one."""
        return gap_bps - self.median_bps

    def z(self, gap_bps: float) -> float:
        """The same in units of the usual spread, which is at least half a bp."""
        return self.excess_bps(gap_bps) / (SIGMA_PER_MAD * max(self.mad_bps, LEAST_MAD_BPS))

    @property
    def turned(self) -> Standing:
        """The same pair seen from the other side."""
        return replace(self, median_bps=-self.median_bps)


def standing(gaps_bps: Sequence[float]) -> Standing | None:
    """From 5-minute gaps, oldest first; the newest day counts. None while there are fewer than six hours of them."""
    newest = gaps_bps[-SAMPLES:]
    if len(newest) < LEAST_SAMPLES:
        return None
    middle = median(newest)
    return Standing(middle, median(abs(gap - middle) for gap in newest), len(newest))


def with_quantile(of: Standing, gaps_bps: Sequence[float]) -> Standing:
    """The same with the pair's own 99th percentile, where seven days or more are given."""
    if len(gaps_bps) < QUANTILE_SAMPLES:
        return replace(of, p99_samples=len(gaps_bps))
    p99 = quantiles((abs(of.excess_bps(gap)) for gap in gaps_bps), n=100)[98]
    return replace(of, p99_bps=p99, p99_samples=len(gaps_bps))


def gaps(rich: Mapping[int, float], poor: Mapping[int, float]) -> list[float]:
    """The gap at every moment at which both have a price, oldest first."""
    return [move_bps(rich[at], poor[at]) for at in sorted(rich.keys() & poor.keys())]
