"""The indicators whose definition is ours: by hand, on bars small enough to check."""

from __future__ import annotations

from dataclasses import replace

import pytest

from candles.indicators.registry import indicator
from livermore.core.candle import Reason
from tests.candles.bars import SLOT_MS, bars, golden_a, golden_b, random_walk, silence

FLAT = [(10.0, 12.0, 9.0, 11.0), (11.0, 11.5, 10.5, 11.0), (11.0, 11.0, 11.0, 11.0), (15.0, 16.0, 14.0, 15.0)]


def column(name: str, of, at: int = 1, **parameters: str) -> list[float | None]:
    return [row[at] for row in indicator(name).with_parameters(parameters).series(of)]


def test_a_silent_bar_is_no_observation_of_the_informative_range_and_one_of_the_plain() -> None:
    silent = silence(bars(FLAT), range(2, 3))
    assert column("atr-informative", silent, length="2") == [None, 2.0, 2.0, 3.5]
    assert column("atr", silent, length="2") == [None, 2.0, 1.0, 3.0]


def test_the_informative_range_is_the_one_of_the_golden_series() -> None:
    assert column("atr-informative", golden_a())[59] == pytest.approx(1.7344280932, abs=1e-10)
    carried = column("atr-informative", golden_b())
    assert carried[40:45] == [pytest.approx(1.8040931006, abs=1e-10)] * 5
    assert column("atr", golden_b(), length="26")[44] == pytest.approx(1.4828330225, abs=1e-10)


def test_the_vwap_is_turnover_over_volume_since_the_day_began() -> None:
    of = replace(bars(FLAT), volume=(2.0, 1.0, 0.0, 1.0), turnover=(21.0, 12.0, 0.0, 15.0))
    assert column("vwap", of) == [10.5, 11.0, 11.0, 12.0]


def test_without_turnover_the_vwap_takes_the_typical_price() -> None:
    of = replace(bars(FLAT[:1]), volume=(2.0,), turnover=(None,))
    assert column("vwap", of) == [pytest.approx(32 / 3)]


def test_the_vwap_waits_for_a_day_to_begin() -> None:
    day = 86_400_000
    late = replace(bars(FLAT), open_ms=(day - 2 * SLOT_MS, day - SLOT_MS, day, day + SLOT_MS))
    assert [value is None for value in column("vwap", late)] == [True, True, False, False]


def test_the_vwap_knows_nothing_before_the_days_first_trade() -> None:
    of = replace(bars(FLAT), volume=(0.0, 1.0, 0.0, 1.0), turnover=(0.0, 11.0, 0.0, 15.0))
    assert column("vwap", of) == [None, 11.0, 11.0, 13.0]


def test_the_z_score_of_volume_counts_silence_as_nothing_and_leaves_outages_out() -> None:
    of = replace(random_walk(1, 4), volume=(1.0, 3.0, 0.0, 1.0))
    assert column("volume-z", of, length="2") == [None, 1.0, -1.0, 1.0]
    hidden = replace(of, reasons=(None, None, Reason.OUTAGE, None))
    assert column("volume-z", hidden, length="2") == [None, 1.0, None, -1.0]
    assert column("volume-z", replace(of, volume=(2.0,) * 4), length="2") == [None] * 4


def test_bands_and_strength_by_hand() -> None:
    of = bars([(p, p, p, p) for p in (1.0, 3.0, 2.0, 4.0)])
    assert indicator("bollinger").with_parameters({"length": "2"}).series(of)[1][1:] == (0.0, 2.0, 4.0)
    assert column("rsi", of, length="2") == [None, None, pytest.approx(200 / 3), pytest.approx(600 / 7)]
    assert column("rsi", bars([(1.0, 1.0, 1.0, 1.0)] * 5), length="2") == [None] * 5


def test_macd_is_the_distance_of_two_averages_each_seeded_by_itself() -> None:
    rows = indicator("macd").series(golden_a())
    assert [row[1] is None for row in rows[24:26]] == [True, False]
    assert [row[3] is None for row in rows[32:34]] == [True, False]
