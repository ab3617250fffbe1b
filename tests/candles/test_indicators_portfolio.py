"""The verdict over timeframes, and the labels and lists over symbols."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candles.indicators.portfolio import Heights, Label, TimeframeBias, label, lists, timeframe_bias
from candles.indicators.reading import Stage
from livermore.core.candle import Timeframe


def test_bulls_must_outweigh_bears_by_half() -> None:
    bull, bear = Stage.RALLYING, Stage.REVERSING
    assert timeframe_bias({Timeframe.D1: bull, Timeframe.H1: bear}) is TimeframeBias.NEUTRAL  # 6 = 1.5 · 4
    assert timeframe_bias({Timeframe.D1: bull, Timeframe.M30: bear}) is TimeframeBias.BULLISH
    assert timeframe_bias({Timeframe.D1: bear, Timeframe.M30: bull}) is TimeframeBias.BEARISH
    assert timeframe_bias({}) is TimeframeBias.NEUTRAL


def test_ranging_counts_for_neither() -> None:
    ranging = dict.fromkeys(Timeframe, Stage.RANGING)
    assert timeframe_bias(ranging) is TimeframeBias.NEUTRAL
    assert timeframe_bias({**ranging, Timeframe.M5: Stage.OVERBOUGHT}) is TimeframeBias.BULLISH


def test_the_contrarian_reading_turns_the_extremes_round() -> None:
    assert timeframe_bias({Timeframe.D1: Stage.OVERSOLD}) is TimeframeBias.BEARISH
    assert timeframe_bias({Timeframe.D1: Stage.OVERSOLD}, is_contrarian=True) is TimeframeBias.BULLISH
    assert timeframe_bias({Timeframe.D1: Stage.RALLYING}, is_contrarian=True) is TimeframeBias.BULLISH


@given(st.dictionaries(st.sampled_from(Timeframe), st.sampled_from(Stage)))
def test_every_set_of_stages_has_a_bias(stages: dict[Timeframe, Stage]) -> None:
    assert timeframe_bias(stages) in TimeframeBias


@pytest.mark.parametrize(
    ("heights", "expected"),
    [
        ((51, 51, 1), Label.STRONG_UP),
        ((-51, -51, -1), Label.STRONG_DOWN),
        ((50, 51, 1), Label.BULLISH),
        ((-1, -1, -1), Label.BEARISH),
        ((51, -1, 5), Label.REVERSAL_UP),
        ((-51, 1, -5), Label.REVERSAL_DOWN),
        ((10, -10, 10), Label.MIXED),
        ((0, 0, 0), Label.MIXED),
    ],
)
def test_portfolio_labels(heights: tuple[float, float, float], expected: Label) -> None:
    assert label(Heights(*heights)) is expected


def test_lists_are_ordered_by_the_hourly_value() -> None:
    of = lists(
        {
            "A": Heights(60, 10, 0),
            "B": Heights(90, 10, 0),
            "C": Heights(-60, -10, 0),
            "D": Heights(-90, -10, 0),
            "E": Heights(31, -21, -1),
            "F": Heights(-31, 21, 1),
            "G": Heights(50, 10, 0),
        }
    )
    assert of.bullish == ("B", "A")
    assert of.bearish == ("D", "C")
    assert of.reversal_up == ("E",)
    assert of.reversal_down == ("F",)
