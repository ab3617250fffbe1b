"""The hot window of a series in a real Redis: newest 1,000, one member per open, never an older revision."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import pytest

from candles import window
from livermore.core import keys
from livermore.core.candle import Candle, Quality, Timeframe

pytestmark = pytest.mark.django_db
FIVE = Timeframe.M5
OPEN_MS = 1_770_000_000_000
KEY = keys.candles("x", "BTC-USDT", FIVE)


@pytest.fixture(autouse=True)
def _redis(redis_state):
    """Every test here has an empty Redis."""


def candle(n: int = 0, price: str = "10", **fields) -> Candle:
    prices = dict.fromkeys(("open", "high", "low", "close"), Decimal(price))
    symbol = fields.pop("symbol", "BTC-USDT")
    return Candle("x", symbol, FIVE, OPEN_MS + n * FIVE.ms, **prices, volume=Decimal(1), **fields)


def opens(found: list[Candle]) -> list[int]:
    return [(c.open_ms - OPEN_MS) // FIVE.ms for c in found]


def test_the_newest_come_oldest_first():
    window.put([candle(2), candle(0), candle(1)])
    assert opens(window.newest("x", "BTC-USDT", FIVE, 2)) == [1, 2]
    assert window.newest("x", "NO-NE", FIVE, 2) == []


def test_intervals_are_half_open():
    window.put(candle(n) for n in range(4))
    from_ms, to_ms = OPEN_MS + FIVE.ms, OPEN_MS + 3 * FIVE.ms
    assert opens(window.between("x", "BTC-USDT", FIVE, from_ms, to_ms)) == [1, 2]
    assert window.count("x", "BTC-USDT", FIVE, from_ms, to_ms) == 2


def test_a_newer_revision_takes_the_place_of_the_older(redis_state):
    window.put([candle(), candle(price="11", revision=1)])
    assert window.newest("x", "BTC-USDT", FIVE, 5) == [candle(price="11", revision=1)]
    window.put([candle(price="9")])
    assert window.newest("x", "BTC-USDT", FIVE, 5) == [candle(price="11", revision=1)]
    assert redis_state.zcard(KEY) == 1


def test_a_better_quality_of_the_same_revision_is_taken():
    window.put([candle()])
    proven = replace(candle(), quality=Quality.PROVEN)
    window.put([proven])
    assert window.newest("x", "BTC-USDT", FIVE, 5) == [proven]


def test_the_thousand_and_first_candle_pushes_the_oldest_out(redis_state):
    window.put(candle(n) for n in range(window.KEPT + 1))
    assert redis_state.zcard(KEY) == window.KEPT
    assert opens(window.newest("x", "BTC-USDT", FIVE, window.KEPT))[0] == 1
    scores = [score for _, score in redis_state.zrange(KEY, 0, -1, withscores=True)]
    assert len(set(scores)) == window.KEPT
    assert all(score % FIVE.ms == 0 for score in scores)


def test_a_candle_older_than_a_full_window_stays_out(redis_state):
    window.put(candle(n) for n in range(1, window.KEPT + 1))
    window.put([candle(0)])
    assert opens(window.newest("x", "BTC-USDT", FIVE, window.KEPT))[0] == 1


def heard(listener, count: int) -> list[dict]:
    messages = [listener.get_message(timeout=2) for _ in range(count)]
    assert listener.get_message(timeout=0.05) is None
    return [json.loads(message["data"]) for message in messages]


def test_what_changed_is_told_in_its_public_form_and_what_did_not_is_not(redis_state):
    listener = redis_state.pubsub(ignore_subscribe_messages=True)
    listener.subscribe(keys.channel_closed("x", "BTC-USDT", FIVE))
    listener.get_message(timeout=1)
    first, revised = candle(price="0.00000000123"), candle(price="11", revision=1)
    for told in (first, first, revised, first, revised):
        window.put([told], tell=True)
    assert heard(listener, 2) == [json.loads(c.to_json()) for c in (first, revised)]
    window.put([candle(1)])
    window.put([candle(1)], tell=True)
    assert heard(listener, 0) == []
    listener.close()


def test_the_candle_before_is_found_for_each():
    window.put([candle(0), candle(3), candle(1, symbol="ETH-USDT")])
    wanted = [("BTC-USDT", 2), ("BTC-USDT", 0), ("ETH-USDT", 9), ("NO-NE", 9), ("BTC-USDT", 3)]
    found = window.before("x", [(symbol, OPEN_MS + n * FIVE.ms) for symbol, n in wanted], FIVE)
    assert found == [candle(0), None, candle(1, symbol="ETH-USDT"), None, candle(0)]


@pytest.mark.parametrize("price", ["0.00000000123", "1000000000000000.000000000000000001"])
def test_decimals_come_back_as_they_went(price):
    window.put([candle(price=price)])
    assert window.newest("x", "BTC-USDT", FIVE, 1)[0].open == Decimal(price)
