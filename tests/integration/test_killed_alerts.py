"""Whoever raises alerts is killed the moment one is told; each stands once in stream and table all the same."""

from __future__ import annotations

import json

import pytest

from livermore.core import keys
from tests.candles.streaming import past
from tests.support.stack import Stack, stack

PRICES = ("92.50", "80.00", "81.00", "104.00")
CALM = 260
RAISE = """
from decimal import Decimal
from candles.services import indicators
from candles.services.record import Closed, record
from livermore.core.candle import Candle, Timeframe
from symbols.models import ExchangeSymbol
first, prices, calm = {first}, {prices}, {calm}
def candle(number, price):
    close, half = Decimal(price), Decimal("0.01")
    return Candle("binance", "BTC-USDT", Timeframe.M5, first + number * 300_000, close, close + half, close - half,
                  close, volume=Decimal(1))
if not ExchangeSymbol.objects.filter(exchange_id="binance", native="BTCUSDT").exists():
    ExchangeSymbol(exchange_id="binance", native="BTCUSDT", base="BTC", quote="USDT", tier=1).save()
    record([Closed(candle(n, f"{{100 + (n % 4) / 100:.2f}}"), 1) for n in range(calm)])
    indicators.compute([("binance", "BTC-USDT", "5m")])
for number, price in enumerate(prices):
    record([Closed(candle(calm + number, price), 1)])
    indicators.compute([("binance", "BTC-USDT", "5m")])
"""
ROWS = """
import json
from candles.models import Alert
print(json.dumps([[str(row.event_id), row.label, row.open_ms] for row in Alert.objects.order_by("open_ms", "label")]))
"""
KILLS = 2


def told(running: Stack) -> list[list]:
    events = [json.loads(fields[b"event"]) for _, fields in running.state.xrange(keys.alerts_stream())]
    return sorted(([e["event_id"], e["label"], e["bar_open_time"]] for e in events), key=lambda e: (e[2], e[1]))


@pytest.mark.slow
def test_killed_while_telling_each_alert_stands_once(tmp_path):
    with stack(tmp_path) as running:
        source = RAISE.format(first=past(CALM + len(PRICES)), prices=PRICES, calm=CALM)
        listener = running.state.pubsub(ignore_subscribe_messages=True)
        listener.subscribe(keys.channel_alerts("binance"))
        for kill in range(KILLS):
            running.start(f"raiser{kill}", "manage.py", "shell", "--no-imports", "-c", source)
            running.wait("an alert", lambda: listener.get_message(timeout=0.05))
            running.kill(f"raiser{kill}")
        rows = running.python(source + ROWS)
        listener.close()
        found = told(running)
    assert [label for _, label, _ in found] == ["level_-150", "level_-250", "level_-350"]
    assert rows == found
