"""Averages and ranges, by hand and against an independent library's recorded output."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Sequence

import pytest

from candles.indicators.bars import Bars
from candles.indicators.primitives import ema, informative_atr, rma, sma, true_ranges
from livermore.core.candle import Reason
from tests.candles.bars import bars, silence
from tests.support.recordings import recording

KLINES = "indicators/binance_BTCUSDT_4h_klines.csv.gz"
REFERENCE = "indicators/binance_BTCUSDT_4h_reference.csv.gz"


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


def column(rows: list[dict[str, str]], name: str) -> list[float | None]:
    return [float(r[name]) if r[name] not in ("", "nan") else None for r in rows]


def read(path: str) -> list[dict[str, str]]:
    with gzip.open(recording(path), "rt") as file:
        return list(csv.DictReader(file))


def assert_equal_where_defined(ours: Sequence[float | None], theirs: Sequence[float | None]) -> None:
    assert sum(v is not None for v in theirs) > 1_000
    for mine, reference in zip(ours, theirs, strict=True):
        if reference is not None:
            assert mine == pytest.approx(reference, rel=1e-9, abs=1e-9)


@pytest.fixture(scope="module")
def reference() -> list[dict[str, str]]:
    return read(REFERENCE)


@pytest.fixture(scope="module")
def candles() -> Bars:
    names = ("open", "high", "low", "close")
    return bars([(float(r["open"]), *(float(r[n]) for n in names[1:])) for r in read(KLINES)])  # type: ignore[misc]


def test_simple_and_exponential_means_equal_the_reference(
    candles: Bars, reference: list[dict[str, str]]
) -> None:
    assert_equal_where_defined(sma(candles.close, 30), column(reference, "sma"))
    assert_equal_where_defined(ema(candles.close, 30), column(reference, "ema"))


def test_macd_equals_the_reference(candles: Bars, reference: list[dict[str, str]]) -> None:
    """The reference starts both averages at the slow one's first bar, hence the shorter fast input."""
    slow = ema(candles.close, 26)
    fast = [None] * 14 + ema(candles.close[14:], 12)
    macd = [None if f is None or s is None else f - s for f, s in zip(fast, slow, strict=True)]
    assert_equal_where_defined(macd, column(reference, "macd"))
    assert_equal_where_defined(ema(macd, 9), column(reference, "macdsignal"))


def test_atr_equals_the_reference(candles: Bars, reference: list[dict[str, str]]) -> None:
    """The reference leaves out the first bar's range, which has no previous close."""
    assert_equal_where_defined([None, *rma(true_ranges(candles)[1:], 14)], column(reference, "atr"))
