"""The registry finds every indicator by itself and keeps each to its word."""

from __future__ import annotations

import json

import pytest

from candles.indicators.indicator import Indicator
from candles.indicators.registry import indicator, indicators
from livermore.core.errors import InvalidInput
from tests.candles.bars import head, random_walk

ALL = list(indicators().values())


def test_macdv_and_its_variants_are_registered() -> None:
    assert indicator("macdv").warm_up_bars == 34
    assert {"macdv", "macdv-atr14", "macdv-ema-atr", "macdv-sma-atr"} <= set(indicators())


def test_an_unknown_name_lists_what_exists() -> None:
    with pytest.raises(InvalidInput, match="accepted: macdv"):
        indicator("vibes")


@pytest.mark.parametrize("of", ALL, ids=lambda i: i.name)
def test_every_indicator_is_ready_exactly_at_its_declared_warm_up(of: Indicator) -> None:
    walk = random_walk(1, of.load_bars)
    ready = [of.latest(head(walk, n)).payload()["ready"] for n in (of.warm_up_bars - 1, of.warm_up_bars)]
    assert ready == [False, True]
    rows = of.series(walk)
    assert None in rows[of.warm_up_bars - 2]
    assert None not in rows[of.warm_up_bars - 1]


@pytest.mark.parametrize("of", ALL, ids=lambda i: i.name)
def test_every_payload_is_json_that_names_its_candle(of: Indicator) -> None:
    payload = json.loads(json.dumps(of.latest(random_walk(1, 60)).payload()))
    assert payload["candle_open_time"] == 59 * 300_000
    assert {"candle_version", "ready", "converged"} <= payload.keys()
    assert len(of.series(random_walk(1, 60))[0]) == 1 + len(of.columns)


def test_variants_differ() -> None:
    walk = random_walk(2, 300)
    values = {of.series(walk)[-1][1] for of in ALL}
    assert len(values) == len(ALL)
