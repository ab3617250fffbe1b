"""Indicators of changed series are computed from the window, kept and told, with the candle's revision."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from candles.indicators.indicator import LOAD_BARS
from candles.services import indicators
from candles.services.record import Closed, record
from livermore.core import keys
from livermore.core.candle import Candle, Timeframe
from tests.candles.bars import random_walk
from tests.support import builders

pytestmark = pytest.mark.django_db
OPEN_MS = 1_770_000_000_000
FIVE = ("toy", "BTC-USDT", "5m")


@pytest.fixture(autouse=True)
def _listed(redis_state):
    builders.symbol(builders.exchange("toy"), "BTC-USDT", tier=1)


def candles(count: int) -> list[Candle]:
    walk = random_walk(1, count)
    rows = zip(walk.open, walk.high, walk.low, walk.close, strict=True)
    return [
        Candle("toy", "BTC-USDT", Timeframe.M5, OPEN_MS + n * 300_000, *map(Decimal, map(repr, row)), volume=Decimal(1))
        for n, row in enumerate(rows)
    ]


def stored(redis_state) -> dict:
    return json.loads(redis_state.get(keys.indicator(*FIVE, "macdv")))


def test_a_series_gets_its_value_and_listeners_hear_it(redis_state):
    made = candles(LOAD_BARS)
    record([Closed(c, 1) for c in made])
    listener = redis_state.pubsub(ignore_subscribe_messages=True)
    listener.subscribe(keys.channel_indicator(*FIVE, "macdv"))
    listener.get_message(timeout=1)
    assert indicators.compute([FIVE]) == 1
    value = stored(redis_state)
    assert json.loads(listener.get_message(timeout=2)["data"]) == value
    assert (value["candle_open_time"], value["candle_version"]) == (made[-1].open_ms, 0)
    assert (value["ready"], value["converged"]) == (True, True)
    assert value["close"] == float(made[-1].close)
    listener.close()


def test_a_revised_candle_gives_a_new_value_with_its_revision(redis_state):
    made = candles(LOAD_BARS)
    record([Closed(c, 1) for c in made])
    indicators.compute([FIVE])
    before = stored(redis_state)
    last = made[-1]
    revised = Candle(
        "toy", "BTC-USDT", Timeframe.M5, last.open_ms, last.open, last.high * 2, last.low, last.high, volume=Decimal(2)
    )
    (standing,) = record([Closed(revised, 2)])
    indicators.compute([FIVE])
    after = stored(redis_state)
    assert after["candle_version"] == standing.revision == 1
    assert after["macdv"] != before["macdv"]


def test_a_revision_further_back_changes_the_newest_value(redis_state):
    made = candles(LOAD_BARS)
    record([Closed(c, 1) for c in made])
    indicators.compute([FIVE])
    before = stored(redis_state)
    old = made[-4]
    moved = Candle("toy", "BTC-USDT", Timeframe.M5, old.open_ms, old.open, old.high * 2, old.low, old.high, Decimal(2))
    record([Closed(moved, 2)])
    indicators.compute([FIVE])
    after = stored(redis_state)
    assert (after["candle_version"], after["candle_open_time"]) == (0, before["candle_open_time"])
    assert after["macdv"] != before["macdv"]


def test_few_bars_are_not_ready_and_say_so(redis_state):
    record([Closed(c, 1) for c in candles(10)])
    assert indicators.compute([FIVE]) == 1
    value = stored(redis_state)
    assert (value["ready"], value["converged"]) == (False, False)


def test_a_series_named_twice_is_computed_once_and_an_empty_one_not_at_all(redis_state):
    record([Closed(c, 1) for c in candles(40)])
    assert indicators.compute([FIVE, list(FIVE), ("toy", "BTC-USDT", "1d"), ("toy", "NO-NE", "5m")]) == 1
    assert indicators.compute([]) == 0
