"""Larger candles count their parts, and say so when one is missing or gapped."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import pytest

from candles import window
from candles.models import Candle as Row
from candles.services import larger
from candles.services.record import Closed, record
from livermore.core.candle import Candle, Quality, Reason, Timeframe
from symbols.models import ExchangeSymbol
from tests.candles.streaming import past
from tests.support.trades import BUCKET_MS

pytestmark = pytest.mark.django_db
AT, NAME = "binance", "BTC-USDT"
DAY = Timeframe.D1


def part(open_ms: int, price: int = 100, **fields) -> Candle:
    prices = [Decimal(price)] * 4
    made = Candle(AT, NAME, Timeframe.M5, open_ms, *prices, Decimal(1), Decimal(price), Decimal(1), 1)
    return replace(made, **fields)


@pytest.fixture
def yesterday(redis_state) -> int:
    """The open of the last whole day but one, so that the newest ended one is not it."""
    ExchangeSymbol(exchange_id=AT, native="BTCUSDT", base="BTC", quote="USDT", tier=1).save()
    return past(288 + 36, aligned_ms=DAY.ms)


def keep(candles: list[Candle]) -> list[Candle]:
    return record([Closed(candle, candle.trades or 0) for candle in candles])


def stands(timeframe: Timeframe, open_ms: int) -> Candle | None:
    found = window.between(AT, NAME, timeframe, open_ms, open_ms + 1)
    return found[0] if found else None


def test_a_day_with_a_missing_part_says_287_of_288_until_it_is_filled(yesterday, monkeypatch):
    monkeypatch.setattr(larger, "_now_ms", lambda: yesterday + DAY.ms + larger.OVERDUE_MS)
    opens = [yesterday + at * BUCKET_MS for at in range(288)]
    missing = opens.pop(100)
    assert record(larger.larger(keep([part(ms) for ms in opens]))) != []  # the smaller ones that are whole
    assert stands(DAY, yesterday) is None
    record(larger.overdue(AT, NAME))
    day = stands(DAY, yesterday)
    assert (day.parts, day.quality, day.revision, day.volume) == (287, Quality.GAPPED, 0, Decimal(287))
    told = json.loads(day.to_json())
    assert (told["coverage"], told["complete"]) == ("287/288", False)
    assert record(larger.overdue(AT, NAME)) == []
    record(larger.larger(keep([part(missing, volume=Decimal(0), trades=0, reason=Reason.NO_TRADES)])))
    day = stands(DAY, yesterday)
    assert (day.parts, day.quality, day.revision) == (288, Quality.CLEAN, 1)
    told = json.loads(day.to_json())
    assert (told["coverage"], told["complete"]) == ("288/288", True)
    assert Row.objects.get(timeframe="1d").value(AT, NAME) == day == Candle.from_json(day.to_json())


def test_a_gapped_part_is_there_but_does_not_count(yesterday):
    opens = [yesterday + at * BUCKET_MS for at in range(3)]
    gapped = part(opens[1], quality=Quality.GAPPED)
    record(larger.larger(keep([part(opens[0]), gapped, part(opens[2])])))
    whole = stands(Timeframe.M15, yesterday)
    assert (whole.parts, whole.quality) == (2, Quality.GAPPED)
    record(larger.larger(keep([replace(gapped, quality=Quality.PROVEN)])))
    whole = stands(Timeframe.M15, yesterday)
    assert (whole.parts, whole.quality, whole.revision) == (3, Quality.CLEAN, 1)


def test_an_incomplete_candle_opens_where_its_timeframe_does(yesterday, monkeypatch):
    monkeypatch.setattr(larger, "_now_ms", lambda: yesterday + Timeframe.H1.ms + larger.OVERDUE_MS)
    keep([part(yesterday + at * BUCKET_MS) for at in range(4, 12)])
    record(larger.overdue(AT, NAME))
    hour = stands(Timeframe.H1, yesterday)
    assert (hour.open_ms, hour.parts, hour.quality) == (yesterday, 8, Quality.GAPPED)


def test_without_any_part_there_is_no_candle(yesterday):
    assert larger.overdue(AT, NAME) == []


def test_parts_that_a_lost_window_lacks_are_read_from_the_table(yesterday, redis_state):
    keep([part(yesterday + at * BUCKET_MS) for at in range(2)])
    redis_state.flushall()
    record(larger.larger(keep([part(yesterday + 2 * BUCKET_MS, price=300)])))
    whole = stands(Timeframe.M15, yesterday)
    assert (whole.parts, whole.close, whole.volume) == (3, Decimal(300), Decimal(3))
    record(larger.larger(keep([part(yesterday, price=50, trades=2)])))
    assert stands(Timeframe.M15, yesterday).open == Decimal(50)
