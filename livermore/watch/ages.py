"""Ages as small histograms that can be added up: pure, bounded whatever the number of ages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import log2

STEPS = 16
"""Bins per doubling: 4.4 % of the age, whatever its size."""
_MOST = 440


def bin_of(age_ms: float) -> int:
    """The bin of an age in ms; negative ones, which a wrong clock makes, have bins of their own."""
    size = min(_MOST, round(STEPS * log2(1 + abs(age_ms))))
    return size if age_ms >= 0 else -size


def edge_ms(position: float) -> float:
    """The age (ms) at a position between bins; `edge_ms(bin_of(x))` is about x."""
    size = 2 ** (abs(position) / STEPS) - 1
    return size if position >= 0 else -size


def quantile_ms(counted: Mapping[int, int], share: float) -> float | None:
    """The age (ms, to 0.1) below which this share of all lie, taken as even within a bin; None without any."""
    wanted = share * sum(counted.values())
    passed = 0.0
    for number in sorted(counted):
        count = counted[number]
        if count and passed + count >= wanted:
            return round(edge_ms(number - 0.5 + (wanted - passed) / count), 1)
        passed += count
    return None


def packed(counted: Mapping[int, int]) -> str:
    """As text: `bin:count` with blanks between."""
    return " ".join(f"{number}:{count}" for number, count in sorted(counted.items()))


def unpacked(text: str) -> Counter[int]:
    """What `packed` gave."""
    return Counter({int(number): int(count) for number, _, count in (part.partition(":") for part in text.split())})
