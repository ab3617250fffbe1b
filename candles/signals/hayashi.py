"""Hayashi–Yoshida: how two series that tick at different moments move together, and which is first (§4.3.4).

Hayashi and Yoshida 2005; with shifts: Hoffmann, Rosenbaum and Yoshida, https://arxiv.org/abs/1303.4871.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt


@dataclass(frozen=True, slots=True)
class Ticks:
    """One series: strictly ascending moments (any integer unit) and values, of equal length."""

    times: Sequence[int]
    values: Sequence[float]

    def __len__(self) -> int:
        return len(self.times)

    @property
    def power(self) -> float:
        """Σ Δ²."""
        return sum((after - before) ** 2 for before, after in pairwise(self.values))


def covariance(x: Ticks, y: Ticks, shift: int) -> float:
    """C(θ): the sum of Δx·Δy over all intervals that overlap when y is drawn back by θ.

    What overlaps one interval of x are consecutive intervals of y, whose changes telescope to one difference:
    n·log m instead of n·m steps.
    """
    times, values, last = y.times, y.values, len(y) - 1
    if last < 1:
        return 0.0
    total = 0.0
    for (start, end), (before, after) in zip(pairwise(x.times), pairwise(x.values), strict=True):
        if after == before:
            continue
        first = bisect_right(times, start + shift) - 1
        beyond = bisect_left(times, end + shift)
        total += (after - before) * (values[min(beyond, last)] - values[max(first, 0)])
    return total


def correlations(x: Ticks, y: Ticks, shifts: Iterable[int]) -> dict[int, float]:
    """ρ(θ) for each shift; θ > 0 that is large means that x leads y by θ. All 0 where a series never moves."""
    norm = sqrt(x.power * y.power)
    if not norm:
        return dict.fromkeys(shifts, 0.0)
    if len(x) <= len(y):
        return {shift: covariance(x, y, shift) / norm for shift in shifts}
    return {shift: covariance(y, x, -shift) / norm for shift in shifts}


def lead_ratio(of: Mapping[int, float]) -> float:
    """LLR = Σ_{θ>0} ρ² / Σ_{θ<0} ρ²; infinite where nothing speaks for the other side."""
    ahead = sum(rho**2 for shift, rho in of.items() if shift > 0)
    behind = sum(rho**2 for shift, rho in of.items() if shift < 0)
    return ahead / behind if behind else (float("inf") if ahead else 1.0)


def clamped(of: Mapping[int, float]) -> dict[int, float]:
    """With |ρ| ≤ 1, which tiny samples can exceed."""
    return {shift: min(max(rho, -1.0), 1.0) for shift, rho in of.items()}
