"""Symbols as a person names them."""

from __future__ import annotations

import pytest

from livermore.core.errors import InvalidInput
from symbols.choosing import UnknownSymbol, choose, named
from tests.support import builders

pytestmark = pytest.mark.django_db


@pytest.fixture
def toy():
    at = builders.exchange("toy")
    for rank, name in enumerate(("BTC-USDT", "ETH-USDT", "SOL-USDT"), start=1):
        builders.symbol(at, name, tier=1, rank=rank)
    builders.symbol(at, "DOGE-USDT", tier=2, rank=9)
    builders.symbol(at, "ETH-BTC", rank=4)
    builders.symbol(at, "OLD-USDT", is_trading=False)
    return at


def names(*wanted: str) -> list[str]:
    return [row.name for row in choose("toy", wanted)]


def test_the_most_active_come_first_in_whatever_order_they_are_named(toy):
    assert names("ETH-BTC", "DOGE-USDT", "SOL-USDT", "BTC-USDT") == ["BTC-USDT", "SOL-USDT", "DOGE-USDT", "ETH-BTC"]


def test_all_are_those_that_are_streamed(toy):
    assert names("all") == ["BTC-USDT", "ETH-USDT", "SOL-USDT"]


def test_case_and_the_venues_own_name_are_no_matter_and_nothing_is_doubled(toy):
    assert names("btc-usdt", "BTCUSDT", "BTC-USDT") == ["BTC-USDT"]


def test_what_is_at_rest_has_a_history_too(toy):
    assert names("OLD-USDT") == ["OLD-USDT"]


def test_a_name_belongs_to_the_one_that_trades(toy):
    builders.symbol(toy, "OLD-USDT", native="OLD2USDT")
    assert choose("toy", ["OLD-USDT"])[0].native == "OLD2USDT"


def test_a_wrong_name_is_told_the_three_nearest(toy):
    message = r"no symbol 'BTC-USTD'; accepted: BASE-QUOTE or all; nearest: BTC-USDT \S+ \S+$"
    with pytest.raises(InvalidInput, match=message):
        names("ETH-USDT", "BTC-USTD")


@pytest.mark.parametrize(("wanted", "message"), [("all", "streams no symbol yet"), ("BTC-USDT", "run sync_symbols")])
def test_an_exchange_without_symbols_says_what_to_do(toy, wanted, message):
    builders.exchange("empty")
    with pytest.raises(InvalidInput, match=message):
        choose("empty", [wanted])


@pytest.mark.parametrize("text", ["btcusdt", "BTC_USDT", "BTC-USDT", "btc/usdt", "BTC USDT"])
def test_every_spelling_means_the_same_row(toy, text):
    assert named("toy", text).name == "BTC-USDT"


def test_two_that_are_spelt_alike_are_both_told(toy):
    builders.symbol(toy, "BT-CUSDT", native="BT-CUSDT")
    with pytest.raises(UnknownSymbol, match="may be any of BT-CUSDT BTC-USDT") as refused:
        named("toy", "btc.usdt")
    assert refused.value.nearest == ["BT-CUSDT", "BTC-USDT"]
    assert named("toy", "BTC-USDT").name == "BTC-USDT"
