"""A candle key is read back into exactly what it was built from, and nothing else is taken for one."""

from __future__ import annotations

import random
import string

import pytest

from livermore.core import keys
from livermore.core.candle import Timeframe
from livermore.core.keys import CandleKey
from livermore.core.symbol import Symbol

_ASSET = string.ascii_uppercase + string.digits + "."


def drawn(draw: random.Random, *, user: int | None = None) -> CandleKey:
    slug = "".join(draw.choices(string.ascii_lowercase + string.digits + "_", k=draw.randint(1, 12)))
    base, quote = ("".join(draw.choices(_ASSET, k=draw.randint(1, 12))) for _ in range(2))
    return CandleKey(slug, str(Symbol(base, quote)), str(draw.choice(list(Timeframe))), user)


@pytest.mark.parametrize("is_users", [False, True])
def test_what_was_built_is_parsed_back(is_users: bool) -> None:
    draw = random.Random(40)
    seen = set()
    for _ in range(10_000):
        key = drawn(draw, user=draw.randrange(10**9) if is_users else None)
        assert keys.parse_candles(str(key)) == key
        seen.add(str(key))
    assert len(seen) > 9_900


def test_different_tuples_have_different_keys() -> None:
    draw = random.Random(41)
    drawn_keys = {drawn(draw, user=draw.choice((None, 1, 11))) for _ in range(10_000)}
    assert len({str(key) for key in drawn_keys}) == len(drawn_keys)


def test_a_key_of_the_predecessor_is_never_ours() -> None:
    """`candles:{user}:{exchange number}:{symbol}:{timeframe}`."""
    draw = random.Random(42)
    for _ in range(10_000):
        _, symbol, timeframe, _ = drawn(draw)
        assert keys.parse_candles(f"candles:{draw.randrange(10**6)}:{draw.randrange(20)}:{symbol}:{timeframe}") is None


@pytest.mark.parametrize(
    "key",
    [
        "", "candles", "candles:", "candles:x:BTC-USD", "usercandles:x:BTC-USD:5m", "usercandles:ann:x:BTC-USD:5m",
        "usercandles:-1:x:BTC-USD:5m", "Candles:x:BTC-USD:5m",
        keys.forming("x", "BTC-USD", "5m"), keys.ticker("x", "BTC-USD"), keys.trades("x", "BTC-USD", 300_000),
        keys.indicator("x", "BTC-USD", "5m", "macdv"), keys.channel_closed("x", "BTC-USD", "5m"),
    ],
)  # fmt: skip
def test_any_other_key_is_none(key: str) -> None:
    assert keys.parse_candles(key) is None
