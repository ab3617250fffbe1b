"""Symbols and subscriptions: known before they are followed, however they are written, each to its own user."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from candles.models import Candle as StoredCandle
from exchanges.models import Exchange
from livermore.core import keys
from symbols.models import ExchangeSymbol, UserSymbolSubscription
from tests.web import market_data

WISHES = "/api/v1/subscriptions"


@pytest.fixture
def desk(client: Client, operator: User, markets: list[ExchangeSymbol], redis_state: Any) -> Client:
    """An operator's browser and some markets, of which DOGE is in no tier."""
    ExchangeSymbol.objects.create(exchange_id="kucoin", native="DOGE-USDT", base="DOGE", quote="USDT")
    client.force_login(operator)
    return client


def add(client: Client, symbol: str, **more: Any) -> Any:
    return client.post(WISHES, {"exchange": "kucoin", "symbol": symbol, **more}, content_type="application/json")


def test_three_spellings_give_the_same_row(desk: Client) -> None:
    answers = [add(desk, text) for text in ("dogeusdt", "DOGE_USDT", "DOGE-USDT")]
    assert [a.status_code for a in answers] == [201, 201, 201]
    assert len({a.json()["id"] for a in answers}) == 1
    [row] = desk.get(WISHES).json()["subscriptions"]
    assert (row["symbol"], row["tier"], row["source"], row["is_warm"]) == ("DOGE-USDT", 2, "manual", False)
    assert row["expires_ms"] > market_data.now_ms()


def test_a_wrong_symbol_gets_the_three_nearest(desk: Client) -> None:
    answer = add(desk, "BTC-XYZ")
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "unknown_symbol"
    assert answer.json()["error"]["nearest"][0] == "BTC-USDT"
    assert len(answer.json()["error"]["nearest"]) == 3


def test_who_may_not_change_anything_is_refused_and_told_why(browser: Client, markets: Any, trader: User) -> None:
    answer = add(browser, "BTC-USDT")
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")
    trader.user_permissions.add(Permission.objects.get(codename="add_usersymbolsubscription"))
    assert add(browser, "BTC-USDT").status_code == 201


def test_a_disabled_exchange_takes_no_symbol(desk: Client) -> None:
    Exchange.objects.filter(slug="kucoin").update(enabled=False)
    assert add(desk, "DOGE-USDT").status_code == 409


def test_another_users_subscription_is_neither_seen_nor_removed(desk: Client, trader: User) -> None:
    symbol = ExchangeSymbol.objects.get(name="DOGE-USDT")
    theirs = UserSymbolSubscription.objects.create(user=trader, symbol=symbol, reasons=["manual"])
    assert desk.get(WISHES).json()["subscriptions"] == []
    assert desk.delete(f"{WISHES}/{theirs.pk}").status_code == 404
    said = desk.get("/api/v1/symbols/kucoin/DOGE-USDT").json()["why"]
    assert said["reasons"] == ["1 other user follows it"]


def test_taking_the_reason_away_leaves_the_tier(desk: Client) -> None:
    made = add(desk, "DOGE-USDT", is_pinned=True).json()
    assert made["expires_ms"] is None
    assert desk.delete(f"{WISHES}/{made['id']}").json() == {"id": made["id"], "reasons": []}
    assert ExchangeSymbol.objects.get(name="DOGE-USDT").tier is None


def test_a_symbol_tells_price_spread_trades_liquidity_venues_and_why(desk: Client, redis_state: Any) -> None:
    symbol = ExchangeSymbol.objects.get(name="BTC-USDT")
    ExchangeSymbol.objects.filter(pk=symbol.pk).update(turnover_usd_24h=Decimal(1_000_000_000))
    now = market_data.now_ms()
    redis_state.hset(keys.ticker("kucoin", "BTC-USDT"), mapping={"price": "64000.5", "received_ms": now - 1_000})
    redis_state.hset(keys.quotes("BTC"), "kucoin|BTC-USDT", f"64000.5|{now}|{now}|63999|64001")
    candle = market_data.candles("kucoin", "BTC-USDT", 1)[0]
    StoredCandle.objects.create(
        symbol=symbol, timeframe="5m", open_ms=candle.open_ms, open=1, high=1, low=1, close=1, volume=1, trades=1500,
        source="trades", quality="proven",
    )  # fmt: skip
    found = desk.get("/api/v1/symbols/kucoin/btcusdt").json()
    metrics = found["metrics"]
    assert (metrics["price"], metrics["spread_bps"]) == ("64000.5", "0.31")
    assert metrics["price_age_ms"] >= 1_000
    assert (metrics["trades_24h"], metrics["candles_counted"], metrics["liquidity_grade"]) == (1500, 1, "A")
    assert metrics["venues"] == ["coinbase", "kucoin"]
    assert found["why"]["is_streamed"]
    assert found["why"]["reasons"] == ["Tier 1: rank 1 of kucoin by turnover in dollars"]
    assert found["why"]["cost"]["topics"] == 1


def test_what_is_unknown_is_told_as_unknown(desk: Client) -> None:
    found = desk.get("/api/v1/symbols/kucoin/DOGE-USDT").json()
    unknown = ("price", "price_age_ms", "spread_bps", "trades_24h", "liquidity_score", "liquidity_grade")
    assert {found["metrics"][name] for name in unknown} == {None}
    assert not found["why"]["is_streamed"]
    assert "POST /api/v1/subscriptions" in found["why"]["reasons"][0]


def test_progress_is_how_many_candles_there_are(desk: Client) -> None:
    assert set(add(desk, "DOGE-USDT").json()["bars"].values()) == {0}
    market_data.fill_window("kucoin", "DOGE-USDT", 120)
    [row] = desk.get(WISHES).json()["subscriptions"]
    assert (row["bars"]["5m"], row["bars"]["1h"], row["is_warm"]) == (120, 0, False)


def test_what_is_typed_is_completed(desk: Client) -> None:
    found = desk.get("/api/v1/symbols?exchange=kucoin&q=do").json()
    assert [s["symbol"] for s in found["symbols"]] == ["DOGE-USDT"]
