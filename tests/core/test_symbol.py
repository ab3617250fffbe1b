"""Canonical symbols: exactly one `BASE-QUOTE`."""

from __future__ import annotations

import random
import string

import pytest

from livermore.core.errors import InvalidInput
from livermore.core.symbol import Symbol, SymbolBook


@pytest.mark.parametrize(
    ("text", "base", "quote"),
    [
        ("BTC-USDT", "BTC", "USDT"), ("btc-usdt", "BTC", "USDT"), (" eth-usd\n", "ETH", "USD"),
        ("1000SATS-USDT", "1000SATS", "USDT"), ("BTC.B-USD", "BTC.B", "USD"), ("00-0", "00", "0"),
    ],
)  # fmt: skip
def test_a_symbol_is_read_in_upper_case(text: str, base: str, quote: str) -> None:
    assert Symbol.parse(text) == (base, quote)


def test_what_is_written_is_read_back() -> None:
    draw = random.Random(3)
    alphabet = string.ascii_uppercase + string.digits + "."
    for _ in range(1_000):
        symbol = Symbol(*("".join(draw.choices(alphabet, k=draw.randint(1, 12))) for _ in range(2)))
        assert Symbol.parse(str(symbol)) == symbol


@pytest.mark.parametrize(
    "text", ["", " ", "-", "BTCUSDT", "BTC-", "-USDT", "BTC-USDT-PERP", "BTC:X-USDT", "BTC|X-USDT", "BTC--USDT"]
)
def test_anything_else_is_refused_and_told_how_to_write_it(text: str) -> None:
    with pytest.raises(InvalidInput, match="write BASE-QUOTE"):
        Symbol.parse(text)


def test_a_book_knows_the_native_name_or_none() -> None:
    book = SymbolBook("x", {"BTCUSDT": "BTC-USDT"})
    assert (book.native("BTC-USDT"), book.native("ETH-USDT")) == ("BTCUSDT", None)
