"""Timeframes, and how good a whole is that is made of parts."""

from __future__ import annotations

import random

import pytest

from livermore.core.candle import Quality, Timeframe, worst
from livermore.core.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "minutes"), [("5m", 5), ("15m", 15), ("30m", 30), ("1h", 60), ("4h", 240), ("1d", 1440)]
)
def test_a_timeframe_is_read_with_its_length(text: str, minutes: int) -> None:
    timeframe = Timeframe.parse(text)
    assert (str(timeframe), timeframe.ms) == (text, minutes * 60_000)


@pytest.mark.parametrize("text", ["", "1m", "5M", "5", "60m", "1w", " 5m"])
def test_a_timeframe_that_does_not_exist_is_refused_with_those_that_do(text: str) -> None:
    with pytest.raises(InvalidInput, match="accepted: 5m 15m 30m 1h 4h 1d"):
        Timeframe.parse(text)


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        ("proven", "proven"), ("proven clean", "clean"), ("empty", "empty"), ("empty empty", "empty"),
        ("empty proven", "proven"), ("clean empty", "clean"), ("proven pending clean", "pending"),
        ("empty pending", "pending"), ("pending gapped", "gapped"), ("proven empty gapped", "gapped"),
    ],
)  # fmt: skip
def test_the_worst_part_that_traded_decides(parts: str, whole: str) -> None:
    assert worst(map(Quality, parts.split())) is Quality(whole)


def test_neither_order_nor_repetition_nor_grouping_matters() -> None:
    """An hour is judged alike from its quarters and from its buckets."""
    draw = random.Random(5)
    for _ in range(1_000):
        parts = draw.choices(list(Quality), k=12)
        quarters = [worst(parts[n : n + 3]) for n in range(0, 12, 3)]
        assert worst(quarters) is worst(parts) is worst(draw.sample(parts, 12) * 2)
