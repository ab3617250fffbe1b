"""A key of the predecessor is read back into exactly what it was built from, and none of ours is taken for one."""

from __future__ import annotations

import random
from fnmatch import fnmatchcase

import pytest

from livermore.core import key_owners, keys, legacy_keys
from livermore.core.key_owners import Owner
from livermore.core.legacy_keys import LegacyKey
from tests.core.test_keys import drawn


def test_what_was_built_is_parsed_back_and_matched_by_its_exchanges_pattern_alone() -> None:
    draw = random.Random(43)
    for _ in range(10_000):
        ours = drawn(draw, user=draw.choice((None, 1, 7)))
        assert legacy_keys.parse(str(ours)) is None
        assert not any(fnmatchcase(str(ours), legacy_keys.pattern(number)) for number in (1, 7))
        key = LegacyKey(draw.randrange(10**9), draw.randrange(20), ours.symbol, ours.timeframe)
        assert legacy_keys.parse(str(key)) == key
        assert fnmatchcase(str(key), legacy_keys.pattern(key.number))
        assert keys.parse_candles(str(key)) is None


@pytest.mark.parametrize("key", ["", "candles:1:2:BTC-USD", "candles:a:2:BTC-USD:5m", "candles:1:x:BTC-USD:5m",
                                 "candles:-1:2:BTC-USD:5m", "candles:1:2:BTC-USD:5m:6", "candles:1:2::5m",
                                 "usercandles:1:2:BTC-USD:5m", "candles:١:2:BTC-USD:5m"])  # fmt: skip
def test_any_other_key_is_none(key: str) -> None:
    assert legacy_keys.parse(key) is None


def test_old_channels_tell_their_exchange_and_ours_none() -> None:
    key = LegacyKey(7, 3, "BTC-USD", "5m")
    for name in (key.channel_closed, key.channel_forming, "channel:ticker:7:3:BTC-USD",
                 "channel:indicator:7:3:BTC-USD:5m:macdv", "channel:orderbook:7:3:BTC-USD"):  # fmt: skip
        assert legacy_keys.number_of_channel(name) == 3
    ours = (keys.channel_closed("x", "BTC-USD", "5m"), keys.channel_forming("3", "BTC-USD", "5m"),
            keys.channel_ticker("3", "BTC-USD"), keys.channel_indicator("x", "BTC-USD", "5m", "macdv"))  # fmt: skip
    assert [legacy_keys.number_of_channel(name) for name in ours] == [None] * 4


def test_whose_any_key_is_can_be_told() -> None:
    assert key_owners.owner(keys.user_candles(7, "x", "BTC-USD", "5m")) == Owner(
        "usercandles:{user}:{exchange}:{symbol}:{timeframe}",
        {"user": "7", "exchange": "x", "symbol": "BTC-USD", "timeframe": "5m"},
    )
    assert key_owners.owner(str(LegacyKey(7, 3, "BTC-USD", "5m"))).parts["number"] == "3"
    assert key_owners.owner(keys.batches("x", "a:b")).parts == {"exchange": "x", "connection": "a:b"}
    for key, shape in ((keys.control("x"), "stream:control:{exchange}"), (keys.stream("x"), "stream:{exchange}"),
                       (keys.signals_stream(), "stream:signals"), (keys.touched(), "quotes:touched")):  # fmt: skip
        assert key_owners.owner(key).shape == shape
    for key in (
        "",
        "candles",
        "candles:x:BTC-USD",
        "candles:1:2:3:BTC-USD:5m",
        "unheard:of",
        keys.channel_ticker("x", "y"),
    ):
        assert key_owners.owner(key) is None
