"""What a user's own keys hold is merged bar by bar into what he reads, and into nobody else's answers."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from candles.legacy_models import LegacyMigration, Mode
from livermore.core import keys
from livermore.core.candle import BUCKET_MS, Candle
from livermore.core.legacy_keys import LegacyKey
from symbols.models import ExchangeSymbol
from tests.web import market_data

pytestmark = pytest.mark.django_db
AT, NAME = "kucoin", "ETH-USDT"
CANDLES = f"/api/v1/candles/{AT}/{NAME}?limit=5000"


def bars(count: int) -> list[Candle]:
    return market_data.candles(AT, NAME, count)


def put(state: Any, key: str, candles: list[Candle], price: str = "") -> None:
    for c in candles:
        said = c.public() | dict.fromkeys(("open", "high", "low", "close") if price else (), price)
        state.zadd(key, {json.dumps(said): c.open_ms})


def put_legacy(state: Any, user: int, candles: list[Candle], symbol: str = NAME) -> None:
    """As the predecessor wrote: floats."""
    number = LegacyMigration.objects.get(pk=AT).number
    for c in candles:
        said = {n: float(getattr(c, n)) for n in ("open", "high", "low", "close", "volume")}
        member = json.dumps({"timestamp": c.open_ms, **said, "symbol": symbol, "timeframe": "5m"})
        state.zadd(str(LegacyKey(user, number, symbol, "5m")), {member: c.open_ms})


def answer(browser: Client) -> tuple[list[dict[str, Any]], dict[str, int]]:
    said = browser.get(CANDLES).json()
    return said["candles"], said["sources"]


def test_shared_wins_bar_by_bar_and_the_users_own_fill(
    browser: Client, trader: User, markets: list[ExchangeSymbol], redis_state: Any
) -> None:
    made = bars(6)
    put(redis_state, keys.candles(AT, NAME, "5m"), made[2:4])
    put(redis_state, keys.user_candles(trader.pk, AT, NAME, "5m"), made[:5], price="77")
    candles, sources = answer(browser)
    assert [c["open_time"] for c in candles] == [c.open_ms for c in made[:5]]
    assert [c["close"] == "77" for c in candles] == [True, True, False, False, True]
    assert sources == {"window": 5, "shared": 2, "overflow": 3, "database": 0, "legacy": 0}
    some = browser.get(f"{CANDLES}&from={made[1].open_ms}&to={made[3].open_ms}").json()
    assert [c["open_time"] for c in some["candles"]] == [made[1].open_ms, made[2].open_ms]


def test_nobody_sees_what_another_user_keeps(
    browser: Client, trader: User, operator: User, markets: list[ExchangeSymbol], redis_state: Any
) -> None:
    made = bars(4)
    put(redis_state, keys.user_candles(operator.pk, AT, NAME, "5m"), made)
    put_legacy(redis_state, operator.pk, made)
    assert answer(browser) == ([], {"window": 0, "shared": 0, "overflow": 0, "database": 0, "legacy": 0})
    assert browser.get(f"/api/v1/indicators/{AT}/{NAME}").json()["latest"] is None
    theirs = Client()
    theirs.force_login(operator)
    candles, sources = answer(theirs)
    assert (len(candles), sources["overflow"]) == (4, 4)


def test_a_thousand_bars_of_the_predecessor_and_one_of_ours_are_a_thousand_and_one(
    browser: Client, trader: User, markets: list[ExchangeSymbol], redis_state: Any
) -> None:
    made = bars(1_001)
    put(redis_state, keys.candles(AT, NAME, "5m"), made[-1:])
    put_legacy(redis_state, trader.pk, made[:-1])
    candles, sources = answer(browser)
    assert [c["open_time"] for c in candles] == [c.open_ms for c in made]
    assert sources == {"window": 1, "shared": 1, "overflow": 0, "database": 0, "legacy": 1_000}
    assert [Decimal(c["close"]) for c in candles] == [c.close for c in made]
    LegacyMigration.objects.filter(pk=AT).update(mode=Mode.SHARED)
    assert answer(browser)[1]["legacy"] == 0


def test_what_the_predecessor_spelled_otherwise_or_wrongly_is_read_or_left_out(
    browser: Client, trader: User, markets: list[ExchangeSymbol], redis_state: Any
) -> None:
    made = bars(3)
    put_legacy(redis_state, trader.pk, made[:2], symbol="ETHUSDT")
    key = str(LegacyKey(trader.pk, LegacyMigration.objects.get(pk=AT).number, "ETHUSDT", "5m"))
    for n, wrong in enumerate(("", "[]", '{"timestamp":1}', '{"timestamp":"x","open":NaN}', "null")):
        redis_state.zadd(key, {wrong: made[2].open_ms + n * BUCKET_MS})
    candles, sources = answer(browser)
    assert [c["open_time"] for c in candles] == [c.open_ms for c in made[:2]]
    assert sources["legacy"] == 2
