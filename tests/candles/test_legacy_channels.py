"""M54: while both are written, whoever listens on the predecessor's channel hears of the forming candle as well."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from candles.services import cutover, ingest
from exchanges import wire
from exchanges.models import Exchange
from livermore.core import keys
from livermore.core.candle import BUCKET_MS
from livermore.core.frame import FrameBatch
from tests.candles.predecessor import key, leave
from tests.candles.streaming import now_ms
from tests.support import builders

pytestmark = pytest.mark.django_db
AT, BTC = "binance", "BTC-USDT"


def batch(number: int, price: str) -> dict:
    at_ms = now_ms()
    trade = {"e": "aggTrade", "E": at_ms, "s": "BTCUSDT", "a": number, "p": price, "q": "0.5", "f": number, "l": number,
             "T": at_ms, "m": False, "M": True}  # fmt: skip
    said = json.dumps({"stream": "btcusdt@aggTrade", "data": trade}).encode()
    return wire.pack(FrameBatch(AT, "c", number, 0, (said,), ((1, at_ms * 1_000_000),)))


@pytest.fixture
def heard(redis_state, monkeypatch):
    """What each of both channels tells of one batch."""
    monkeypatch.setattr(ingest, "_previews", {})
    monkeypatch.setattr(ingest, "_books", {})
    monkeypatch.setattr(ingest, "_looked", {})
    builders.symbol(Exchange.objects.get(pk=AT), BTC, tier=1)
    theirs = key(7, AT, BTC)
    leave(redis_state, [theirs, key(7, AT, BTC, "1h")], 2)
    listeners = [redis_state.pubsub(ignore_subscribe_messages=True) for _ in range(2)]
    for listener, channel in zip(listeners, (keys.channel_forming(AT, BTC, "5m"), theirs.channel_forming), strict=True):
        listener.subscribe(channel)
        listener.get_message(timeout=1)

    def of(number: int, price: str) -> list[dict | None]:
        monkeypatch.setattr("candles.preview.PUBLISH_EVERY_S", 0.0)
        ingest.ingest(batch(number, price))
        first = listeners[0].get_message(timeout=2)
        second = listeners[1].get_message(timeout=0.2)
        return [json.loads(said["data"]) if said else None for said in (first, second)]

    yield of
    for listener in listeners:
        listener.close()


def test_the_forming_candle_is_told_on_both_names_in_dual_and_on_ours_alone_before(heard, monkeypatch):
    ours, theirs = heard(0, "64000.1")
    assert (ours["close"], theirs) == ("64000.1", None)
    cutover.begin(AT, "me")
    monkeypatch.setattr(ingest, "_looked", {})
    ours, theirs = heard(1, "64001.123456789")
    assert Decimal(str(theirs["close"])) == Decimal(ours["close"]) == Decimal("64001.123456789")
    assert theirs["timestamp"] == ours["open_time"] == now_ms() // BUCKET_MS * BUCKET_MS
    assert (theirs["symbol"], theirs["timeframe"], theirs["volume"]) == (BTC, "5m", 1)
