"""The common universe: what trades at many exchanges outranks what trades at one."""

from __future__ import annotations

from decimal import Decimal

import pytest

from symbols.universe import common
from tests.support import builders

pytestmark = pytest.mark.django_db


@pytest.fixture
def markets():
    places = [builders.exchange(f"toy{n}") for n in range(4)]
    for at in places:
        builders.symbol(at, "WIDE-USD", turnover_usd_24h=Decimal(25))
        builders.symbol(at, "USDT-USD", turnover_usd_24h=Decimal(10**9))
    builders.symbol(places[0], "NARROW-USD", turnover_usd_24h=Decimal(100))
    builders.symbol(places[0], "WIDE-EUR", turnover_usd_24h=Decimal(5))
    builders.symbol(places[1], "NEW-USD")
    builders.symbol(places[1], "GONE-USD", turnover_usd_24h=Decimal(10**6), is_trading=False)


def test_an_asset_at_four_exchanges_outranks_one_of_the_same_turnover_at_one(markets):
    wide, narrow = common()
    assert (wide.base, wide.turnover_usd, len(wide.exchanges), wide.score) == ("WIDE", Decimal(105), 4, Decimal(420))
    assert (narrow.base, narrow.turnover_usd, narrow.exchanges) == ("NARROW", Decimal(100), ("toy0",))


def test_what_trades_at_too_few_is_left_out(markets):
    assert [asset.base for asset in common(2)] == ["WIDE"]
    assert common(5) == []


def test_the_api_tells_it(markets, client, django_user_model, redis_state):
    client.force_login(django_user_model.objects.create(username="reader"))
    [found] = client.get("/api/v1/symbols/common").json()["assets"]
    assert (found["base"], found["score"], found["exchanges"]) == ("WIDE", "420", ["toy0", "toy1", "toy2", "toy3"])
