"""Old candles leave the table by their timeframe's days, in portions, and nothing else does."""

from __future__ import annotations

import json

import pytest
import redis
from django.core.management import CommandError, call_command

from candles import tasks, window
from candles.checks import retention_can_be_read
from candles.models import Candle as CandleRow
from candles.services import retention
from candles.services.history import fill
from candles.services.record import Closed, record
from exchanges.models import Exchange
from livermore.core.candle import Kline, Timeframe
from livermore.core.errors import InvalidInput
from symbols.models import ExchangeSymbol
from tests.support import builders

AT = "binance"
DAY_MS = Timeframe.D1.ms
NOW_MS = 20_000 * DAY_MS + 5


@pytest.fixture
def symbols(db, redis_state):
    at = Exchange.objects.get(pk=AT)
    return [builders.symbol(at, "BTC-USDT"), builders.symbol(at, "OLD-USDT", tier=1, is_trading=False)]


def stored(name: str, timeframe: Timeframe, days_ago: int, count: int) -> None:
    """So many candles from so many days ago on."""
    first = NOW_MS - NOW_MS % DAY_MS - days_ago * DAY_MS
    klines = [Kline(first + n * timeframe.ms, *[1 + n] * 5) for n in range(count)]
    record([Closed(c, 0) for c in fill(AT, name, timeframe, klines, NOW_MS, omits=False)], tell=False)


def ages(timeframe: str) -> dict[str, int]:
    """By symbol, how many are left."""
    rows = CandleRow.objects.filter(timeframe=timeframe)
    return {s.name: count for s in ExchangeSymbol.objects.all() if (count := rows.filter(symbol=s).count())}


def test_each_timeframe_goes_by_its_own_days_and_the_others_stay(symbols, settings):
    settings.CANDLE_DAYS = {"5m": 10, "1h": 20}
    stored("BTC-USDT", Timeframe.M5, 10, 300)  # 288 are a day
    stored("OLD-USDT", Timeframe.M5, 12, 7)
    stored("BTC-USDT", Timeframe.H1, 21, 30)
    stored("BTC-USDT", Timeframe.D1, 900, 3)
    assert retention.retire(NOW_MS) == 1 + 7 + 25
    assert ages("5m") == {"BTC-USDT": 299}  # one began 5 ms too early
    assert ages("1h") == {"BTC-USDT": 5}
    assert ages("1d") == {"BTC-USDT": 3}
    assert retention.retire(NOW_MS) == 0


def test_the_window_keeps_its_newest_however_old(symbols, settings):
    settings.CANDLE_DAYS = {"5m": 10}
    stored("OLD-USDT", Timeframe.M5, 12, 7)
    retention.retire(NOW_MS)
    assert len(window.newest(AT, "OLD-USDT", Timeframe.M5, 10)) == 7


def test_without_days_all_stays(symbols, settings):
    settings.CANDLE_DAYS = {}
    stored("BTC-USDT", Timeframe.M5, 5_000, 3)
    assert retention.retire(NOW_MS) == 0


def test_a_call_takes_so_many_in_chunks_the_oldest_first(
    symbols, settings, monkeypatch, django_assert_max_num_queries
):
    settings.CANDLE_DAYS = {"5m": 10}
    monkeypatch.setattr(retention, "CHUNK", 4)
    monkeypatch.setattr(retention, "MOST", 10)
    stored("BTC-USDT", Timeframe.M5, 12, 15)
    newest = CandleRow.objects.order_by("-open_ms").values_list("open_ms", flat=True)[:5]
    expected = list(newest)
    with django_assert_max_num_queries(6):
        assert retention.retire(NOW_MS) == 10
    assert list(newest) == expected
    assert retention.retire(NOW_MS) == 5


def test_the_task_goes_on_in_another_one_until_all_are_gone(symbols, settings, monkeypatch):
    monkeypatch.setattr(retention, "MOST", 10)
    stored("BTC-USDT", Timeframe.M5, 15_000, 15)
    with redis.Redis.from_url(settings.CELERY_BROKER_URL) as broker:
        tasks.retire()
        assert json.loads(broker.rpop("default"))["headers"]["task"] == "candles.retire"
        tasks.retire()
        assert broker.llen("default") == 0
    assert not CandleRow.objects.exists()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"1m": 400}, "timeframe '1m' does not exist; accepted: 5m"),
        ({"5m": 6}, "whole days from 7 on"),
        ({"5m": "400"}, "whole days"),
        ({"5m": True}, "whole days"),
        ([400], "must be JSON such as"),
    ],
)
def test_e009_what_cannot_be_meant_deletes_nothing_and_is_said(symbols, settings, said, message):
    assert retention_can_be_read(None) == []
    settings.CANDLE_DAYS = said
    (found,) = retention_can_be_read(None)
    assert found.id == "livermore.E009"
    assert message in found.msg
    with pytest.raises(InvalidInput):
        retention.retire(NOW_MS)
    with pytest.raises(CommandError, match="E009"):
        call_command("check")
