"""Hayashi–Yoshida: the golden vector of signals.md §4.3.4, exact, and the definition itself as a witness."""

from __future__ import annotations

import random

import pytest

from candles.signals.hayashi import Ticks, clamped, correlations, covariance, lead_ratio

X = Ticks([0, 1000, 2500, 4000, 6000], [0, 10, 14, 12, 20])
Y = Ticks([500, 1500, 3000, 3500, 5500, 7000], [0, 6, 11, 13, 12, 21])
GOLDEN = {-1000: 22, -500: 22, 0: 156, 500: 142, 1000: 204, 2000: 110}
RHOS = {-1000: 0.133769, -500: 0.133769, 0: 0.948543, 500: 0.863417, 1000: 1.240402, 2000: 0.668844}


def by_definition(x: Ticks, y: Ticks, shift: int) -> float:
    """The double sum as it is written."""
    return sum(
        (x.values[i + 1] - x.values[i]) * (y.values[j + 1] - y.values[j])
        for i in range(len(x) - 1)
        for j in range(len(y) - 1)
        if max(x.times[i], y.times[j] - shift) < min(x.times[i + 1], y.times[j + 1] - shift)
    )


def walk(rng: random.Random, count: int) -> Ticks:
    times = sorted(rng.sample(range(60), count))
    return Ticks(times, [float(rng.randrange(-3, 4)) for _ in times])


@pytest.mark.parametrize(("shift", "expected"), GOLDEN.items())
def test_the_golden_covariances_exactly(shift: int, expected: float) -> None:
    assert covariance(X, Y, shift) == expected
    assert covariance(Y, X, -shift) == expected


def test_the_golden_correlations_exactly() -> None:
    assert (X.power, Y.power) == (184, 147)
    assert {s: round(rho, 6) for s, rho in correlations(X, Y, GOLDEN).items()} == RHOS
    assert {-s: round(rho, 6) for s, rho in correlations(Y, X, [-s for s in GOLDEN]).items()} == RHOS


def test_the_golden_ratio_exactly_unclamped_and_clamped() -> None:
    rhos = correlations(X, Y, (-1000, -500, 500, 1000))
    assert f"{lead_ratio(rhos):.2f}" == "63.82"
    assert f"{lead_ratio(clamped(rhos)):.2f}" == "48.77"


def test_it_is_the_definition_also_where_moments_coincide() -> None:
    rng = random.Random(3)
    for _ in range(200):
        x, y, shift = walk(rng, rng.randrange(2, 12)), walk(rng, rng.randrange(2, 12)), rng.randrange(-70, 70)
        assert covariance(x, y, shift) == by_definition(x, y, shift)


def test_series_that_never_move_or_have_one_tick_are_unrelated() -> None:
    assert correlations(X, Ticks([1, 2], [5, 5]), (0,)) == {0: 0.0}
    assert covariance(X, Ticks([1], [5]), 0) == 0.0
    assert lead_ratio({-1: 0.0, 1: 0.0}) == 1.0
    assert lead_ratio({-1: 0.0, 1: 0.5}) == float("inf")
