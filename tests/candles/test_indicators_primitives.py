"""Averages and ranges, by hand."""

from __future__ import annotations

from candles.indicators.primitives import ema, informative_atr, rma, sma, true_ranges
from livermore.core.candle import Reason
from tests.candles.bars import bars, silence


def test_simple_mean() -> None:
    assert sma([1.0, 2.0, 3.0, 4.0], 3) == [None, None, 2.0, 3.0]


def test_exponential_mean_is_seeded_with_the_simple_mean() -> None:
    assert ema([1.0, 2.0, 3.0, 5.0], 3) == [None, None, 2.0, 3.5]


def test_exponential_mean_may_start_from_the_first_value() -> None:
    assert ema([1.0, 2.0, 3.0], 3, seeds_first=True) == [1.0, 1.5, 2.25]


def test_wilders_mean() -> None:
    assert rma([1.0, 3.0, 5.0], 2) == [None, 2.0, 3.5]


def test_an_average_carries_its_value_over_missing_observations() -> None:
    for mean in (sma, rma):
        assert mean([1.0, None, 3.0, None, 5.0], 2)[:4] == [None, None, 2.0, 2.0]


def test_true_range_reaches_back_to_the_previous_close() -> None:
    rows = [(10.0, 12.0, 9.0, 11.0), (11.0, 11.5, 10.5, 11.0), (15.0, 16.0, 14.0, 15.0), (9.0, 10.0, 8.0, 9.0)]
    assert true_ranges(bars(rows)) == [3.0, 1.0, 5.0, 7.0]


def test_a_synthetic_bar_observes_no_range_and_the_next_measures_from_its_flat_close() -> None:
    rows = [(10.0, 12.0, 9.0, 11.0), (1.0, 1.0, 1.0, 1.0), (15.0, 16.0, 14.0, 15.0)]
    silent = silence(bars(rows), range(1, 2), Reason.NO_TRADES)
    assert true_ranges(silent) == [3.0, None, 5.0]
    assert informative_atr(silent, 2) == [None, None, 4.0]
