"""From trades to alerts through the tasks and a real broker, with workers that die and messages that come again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal

import pytest

from candles import tasks
from candles.models import Alert
from candles.services import indicators
from candles.services.record import Closed, record
from livermore.core import keys
from livermore.core.candle import Candle, Source, Timeframe
from symbols.models import ExchangeSymbol
from tests.candles.streaming import past, store, streamed
from tests.candles.test_tasks import Broker
from tests.support.trades import BUCKET_MS, Made

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # python-binance's imports
]
AT, BTC = "binance", "BTC-USDT"
CALM = 260


@dataclass(frozen=True)
class Market:
    """A market whose history was calm; `crash` and `after` open the two buckets that are over and not closed."""

    broker: Broker
    crash: int
    after: int


@pytest.fixture
def market(redis_state, settings):
    """Its stream has run without interruption since the calm ended."""
    ExchangeSymbol(exchange_id=AT, native="BTCUSDT", base="BTC", quote="USDT", tier=1).save()
    crash = past(2)
    record([Closed(calm(crash + (n - CALM) * BUCKET_MS, n), 0) for n in range(CALM)])
    indicators.compute([(AT, BTC, "5m")])
    streamed(redis_state, AT, since_ms=crash)
    return Market(Broker(settings.CELERY_BROKER_URL), crash, crash + BUCKET_MS)


def calm(open_ms: int, number: int) -> Candle:
    price, half = Decimal(f"{100 + (number % 4) / 100:.2f}"), Decimal("0.01")
    return Candle(
        AT, BTC, Timeframe.M5, open_ms, price, price + half, price - half, price, Decimal(1), source=Source.REST
    )


def trade(open_ms: int, price: str, number: int) -> None:
    """One second into a bucket somebody trades at this price."""
    store(AT, BTC, [Made("BTCUSDT", number, open_ms + 1_000, price, "1", True)], field=f"c:{number}")


def closed(broker: Broker) -> list[dict]:
    """What a sweep has closed; each message is worked on twice, as if the first worker had died at its end."""
    tasks.sweep()
    wanted = []
    for message in broker.take("candles"):
        for _ in range(2):
            tasks.close(*message["args"])
        wanted += broker.take("candles")
    return [message for message in wanted if message["task"] == "candles.indicators"]


def told(redis_state) -> list[tuple[int, str, str]]:
    events = [json.loads(fields[b"event"]) for _, fields in redis_state.xrange(keys.alerts_stream())]
    return [(event["bar_open_time"], event["label"], event["phase"]) for event in events]


def test_a_crash_is_told_once_although_every_message_comes_twice(market, redis_state):
    trade(market.crash, "92.50", 1)
    wanted = closed(market.broker)
    assert wanted
    for message in wanted * 2:
        tasks.compute_indicators(*message["args"])
    assert told(redis_state) == [(market.crash, "level_-150", "raised")]
    row = Alert.objects.get()
    assert (row.exchange_id, row.symbol, row.timeframe, row.price) == (AT, BTC, "5m", Decimal("92.5"))
    trade(market.after, "92.60", 2)
    for message in closed(market.broker):
        tasks.compute_indicators(*message["args"])
    assert [told for told in told(redis_state) if told[0] == market.crash] == [(market.crash, "level_-150", "raised")]
    assert Alert.objects.count() == len(told(redis_state))


def test_a_worker_that_died_before_the_indicators_costs_no_alert(market, redis_state):
    trade(market.crash, "92.50", 1)
    assert closed(market.broker)  # and nobody takes these messages
    trade(market.after, "94.00", 2)
    for message in closed(market.broker):
        tasks.compute_indicators(*message["args"])
    assert told(redis_state)[0] == (market.crash, "level_-150", "raised")


def test_a_late_trade_that_takes_the_crash_back_is_noted(market, redis_state):
    trade(market.crash, "92.50", 1)
    for message in closed(market.broker):
        tasks.compute_indicators(*message["args"])
    store(AT, BTC, [Made("BTCUSDT", 2, market.crash + 2_000, "100.00", "1", True)], field="c:2")
    for message in closed(market.broker):
        tasks.compute_indicators(*message["args"])
    assert told(redis_state) == [(market.crash, "level_-150", phase) for phase in ("raised", "revised")]
    note = Alert.objects.get().event["revised"]
    assert (note["stands"], note["bar_version"]) == (False, 1)
