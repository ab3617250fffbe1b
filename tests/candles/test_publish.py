"""Listeners hear what was kept: closed candles, indicators, signals."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from candles import publish
from livermore.core import keys
from livermore.core.candle import Candle, Timeframe


@pytest.fixture
def hear(redis_state):
    """Listen to a channel; the function returned gives everything heard so far."""
    listener = redis_state.pubsub(ignore_subscribe_messages=True)

    def listen(channel: str):
        listener.subscribe(channel)
        listener.get_message(timeout=1)

        def heard(count: int) -> list[dict]:
            messages = [listener.get_message(timeout=2) for _ in range(count)]
            assert listener.get_message(timeout=0.05) is None
            return [json.loads(m["data"]) for m in messages]

        return heard

    yield listen
    listener.close()


def test_a_closed_candle_is_told_in_its_public_form(hear):
    prices = dict.fromkeys(("open", "high", "low", "close"), Decimal("0.00000000123"))
    candle = Candle("x", "BTC-USDT", Timeframe.H1, 1_770_001_200_000, **prices, volume=Decimal("1e15"))
    heard = hear(keys.channel_closed("x", "BTC-USDT", "1h"))
    publish.closed([candle, candle])
    assert heard(2) == [json.loads(candle.to_json())] * 2


def test_an_indicator_is_kept_and_told(redis_state, hear):
    place = ("x", "BTC-USDT", "5m", "macdv")
    heard = hear(keys.channel_indicator(*place))
    publish.indicators({place: {"macdv": 1.5, "ready": True}})
    assert heard(1) == [{"macdv": 1.5, "ready": True}] == [json.loads(redis_state.get(keys.indicator(*place)))]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_json_does_not_know_is_refused(redis_state, value):
    with pytest.raises(ValueError):
        publish.indicators({("x", "BTC-USDT", "5m", "macdv"): {"macdv": value}})
    assert redis_state.keys("*") == []


def test_signals_are_appended_in_order_and_wake_their_bases_listeners(redis_state, hear):
    events = [{"event_id": n, "base": base} for n, base in enumerate(("BTC", "ETH", "BTC"))]
    heard = hear(keys.channel_signal("BTC"))
    publish.signals(events)
    kept = [json.loads(fields[b"event"]) for _, fields in redis_state.xrange(keys.signals_stream())]
    assert kept == events
    assert heard(2) == [events[0], events[2]]


def test_the_signal_stream_is_bounded(redis_state, monkeypatch):
    monkeypatch.setattr(publish, "SIGNALS_KEPT", 100)
    publish.signals({"event_id": n, "base": "BTC"} for n in range(1_000))
    assert redis_state.xlen(keys.signals_stream()) <= 300


def test_nothing_to_tell_is_no_error(redis_state):
    publish.closed([])
    publish.indicators({})
    publish.signals([])
    assert redis_state.keys("*") == []
