"""Exports over the API: streamed, closed to strangers, the same rows as the candles' own address."""

from __future__ import annotations

import asyncio
import csv
import io
from decimal import Decimal
from typing import Any

from django.test import AsyncClient, Client

from candles.models import Candle
from symbols.models import ExchangeSymbol
from tests.web import market_data

PATH = "/api/v1/exports/candles?exchange=kucoin&symbol=BTC-USDT"


def test_a_stranger_gets_nothing(client: Client, db: None) -> None:
    assert client.get(PATH).status_code == 401


def test_a_format_that_does_not_exist_is_told(browser: Client, markets: Any) -> None:
    answer = browser.get(f"{PATH}&format=xls")
    assert answer.status_code == 422
    assert "csv" in answer.json()["error"]["message"]


def test_the_rows_are_those_of_the_candles(transactional_db: None, redis_state: Any, trader: Any, markets: Any) -> None:
    symbol = ExchangeSymbol.objects.get(name="BTC-USDT")
    made = market_data.candles("kucoin", "BTC-USDT", 30)
    names = ("open_ms", "open", "high", "low", "close", "volume", "turnover", "taker_buy_volume", "trades")
    Candle.objects.bulk_create(
        Candle(symbol=symbol, timeframe="5m", source="trades", quality="proven", **{n: getattr(c, n) for n in names})
        for c in made
    )
    client = AsyncClient()
    client.force_login(trader)

    async def fetched() -> tuple[Any, bytes]:
        answer = await client.get(PATH)
        return answer, b"".join([piece async for piece in answer.streaming_content])

    answer, body = asyncio.run(fetched())
    rows = list(csv.DictReader(io.StringIO(body.decode())))
    assert answer["Content-Disposition"] == 'attachment; filename="kucoin-BTC-USDT-5m.csv"'
    assert answer["Livermore-Terms"].startswith("KuCoin")
    assert [(int(r["open_time"]), Decimal(r["close"])) for r in rows] == [(c.open_ms, c.close) for c in made]
