"""The script that cuts PostgreSQL's table of candles into months: everything is there afterwards and goes on."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from django.db import connection

from candles.models import Candle as CandleRow
from candles.services import retention
from candles.services.record import Closed, record
from exchanges.models import Exchange
from livermore.core.candle import Candle, Timeframe
from tests.support import builders

pytestmark = [pytest.mark.services, pytest.mark.django_db]
SCRIPT = Path(__file__).parents[2] / "candles" / "partition.sql"
JANUARY_MS = int(datetime(2026, 1, 31, 23, 30, tzinfo=UTC).timestamp() * 1000)


def candles(timeframe: Timeframe, count: int, high: int = 3) -> list[Closed]:
    begin = JANUARY_MS - JANUARY_MS % timeframe.ms
    prices = Decimal(2), Decimal(high), Decimal(1), Decimal("2.5")
    return [
        Closed(Candle("binance", "BTC-USDT", timeframe, begin + n * timeframe.ms, *prices, Decimal(1)), high)
        for n in range(count)
    ]


def rows_of(table: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table}")
        return cursor.fetchone()[0]


def test_months_of_5m_candles_and_one_table_of_the_others(redis_state, settings):
    if connection.vendor != "postgresql":
        pytest.skip("needs PostgreSQL")
    builders.symbol(Exchange.objects.get(pk="binance"), "BTC-USDT")
    record([*candles(Timeframe.M5, 20), *candles(Timeframe.H1, 3)])
    before = list(CandleRow.objects.order_by("pk").values())
    for _ in range(2):
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute(SCRIPT.read_text())
        assert list(CandleRow.objects.order_by("pk").values()) == before
    assert [rows_of(f"candles_5m_2026_{month}") for month in ("01", "02", "03")] == [6, 14, 0]
    assert (rows_of("candles_larger"), rows_of("candles_5m_other")) == (3, 0)
    # A repeat changes nothing, a stronger version raises the revision, a new one gets a number.
    assert [c.revision for c in record(candles(Timeframe.M5, 20))] == [0] * 20
    assert [c.revision for c in record(candles(Timeframe.M5, 21, high=4))] == [1] * 20 + [0]
    assert CandleRow.objects.latest("pk").pk > before[-1]["id"]
    settings.CANDLE_DAYS = {"5m": 7}
    assert retention.retire(JANUARY_MS + 8 * Timeframe.D1.ms) == 21
    assert CandleRow.objects.count() == 3
