"""Positions over the API: the caller's own, exchange by exchange, and no sum of what lies at different ones."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from exchanges.models import UserExchange
from symbols.models import ExchangeSymbol, Position


def position(user: User, exchange: str, asset: str, free: str, **fields: Any) -> Position:
    return Position.objects.create(user=user, exchange_id=exchange, asset=asset, free=Decimal(free), **fields)


def test_a_stranger_gets_none(client: Client, db: None) -> None:
    assert client.get("/api/v1/positions").status_code == 401


def test_who_holds_nothing_sees_nothing(browser: Client) -> None:
    assert browser.get("/api/v1/positions").json()["exchanges"] == []


def test_the_callers_own_are_shown_by_exchange(
    browser: Client, trader: User, operator: User, markets: list[ExchangeSymbol]
) -> None:
    account = UserExchange.objects.create(user=trader, exchange_id="kucoin", label="main", credentials=b"gAAAAA5ec")
    symbol = next(row for row in markets if row.exchange_id == "kucoin" and row.base == "BTC")
    until = timezone.now()
    position(trader, "kucoin", "BTC", "0.50", account=account, locked=Decimal("1e-8"), symbol=symbol, until=until)
    position(trader, "coinbase", "BTC", "2")
    position(operator, "kucoin", "ETH", "9")
    answer = browser.get("/api/v1/positions")
    coinbase, kucoin = answer.json()["exchanges"]
    assert kucoin["accounts"] == [{"label": "main", "state": "new", "why": "", "read_ms": None}]
    (btc,) = kucoin["positions"]
    assert (btc["free"], btc["locked"], btc["symbol"]) == ("0.5", "0.00000001", "BTC-USDT")
    assert (btc["source"], btc["account"], btc["until_ms"]) == ("account", "main", int(until.timestamp() * 1000))
    assert [(p["asset"], p["source"], p["free"]) for p in coinbase["positions"]] == [("BTC", "file", "2")]
    assert "ETH" not in answer.content.decode()
    assert "gAAAAA5ec" not in answer.content.decode()


def test_nothing_adds_up_what_lies_at_different_exchanges(
    browser: Client, trader: User, markets: list[ExchangeSymbol]
) -> None:
    """M34: two exchanges are two rows, and the schema has no field for a total."""
    for slug in ("kucoin", "coinbase"):
        position(trader, slug, "BTC", "1.25")
    answer = browser.get("/api/v1/positions").json()
    assert [len(exchange["positions"]) for exchange in answer["exchanges"]] == [1, 1]
    assert "2.5" not in json.dumps([e["positions"][0]["free"] for e in answer["exchanges"]])
    schema = browser.get("/api/v1/openapi.json").json()
    path = json.dumps(schema["paths"]["/api/v1/positions"])
    names = ["PositionsOut", *re.findall(r"schemas/(\w+)", path)]
    outer = schema["components"]["schemas"][names[0]]["properties"]
    assert set(outer) == {"now_ms", "exchanges"}
    assert set(schema["components"]["schemas"]["ExchangeOut"]["properties"]) == {"exchange", "accounts", "positions"}
    fields = set(schema["components"]["schemas"]["PositionOut"]["properties"])
    assert not [name for name in fields if re.search("total|sum|net", name)]
