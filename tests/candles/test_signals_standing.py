"""How far a pair usually is apart."""

from __future__ import annotations

import pytest

from candles.signals.standing import LEAST_SAMPLES, Standing, gaps, standing, with_quantile


def test_median_and_mad_of_the_newest_day() -> None:
    old, day = [500.0] * 50, [float(n % 5) for n in range(288)]
    assert standing([*old, *day]) == Standing(2.0, 1.0, 288)


def test_six_hours_are_the_least() -> None:
    assert standing([1.0] * (LEAST_SAMPLES - 1)) is None
    assert standing([1.0] * LEAST_SAMPLES) == Standing(1.0, 0.0, LEAST_SAMPLES)


def test_z_has_a_floor_of_half_a_bp() -> None:
    assert Standing(2.0, 0.0, 288).z(9.413) == pytest.approx(7.413 / (1.4826 * 0.5))
    assert Standing(2.0, 5.0, 288).z(2 + 5 * 1.4826) == pytest.approx(1.0)


def test_seen_from_the_other_side_the_median_turns() -> None:
    assert Standing(2.0, 1.0, 288).turned == Standing(-2.0, 1.0, 288)


def test_the_pairs_own_quantile_counts_from_seven_days_on() -> None:
    """M72: a pair whose p99 is 12 bps."""
    week = [12.0 if n % 50 == 0 else 1.0 for n in range(7 * 288)]
    usual = Standing(0.0, 1.0, 288)
    assert with_quantile(usual, week).p99_bps == pytest.approx(12.0)
    short = with_quantile(usual, week[:-1])
    assert (short.p99_bps, short.p99_samples) == (None, 7 * 288 - 1)


def test_gaps_are_taken_where_both_have_a_price() -> None:
    assert gaps({1: 100.0, 2: 101.0, 3: 100.0}, {2: 101.0, 3: 100.0, 4: 1.0}) == [0.0, 0.0]
