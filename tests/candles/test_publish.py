"""Listeners hear what was kept: indicators, signals."""

from __future__ import annotations

import json

import pytest

from candles import publish
from livermore.core import keys


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


def test_an_indicator_is_kept_and_told(redis_state, hear):
    place = ("x", "BTC-USDT", "5m", "macdv")
    heard = hear(keys.channel_indicator(*place))
    publish.indicators({place: {"macdv": 1.5, "ready": True}})
    assert heard(1) == [{"macdv": 1.5, "ready": True}] == [json.loads(redis_state.get(keys.indicator(*place)))]


def value_of(open_ms: int, version: int, macdv: float = 1.5) -> dict:
    return {"macdv": macdv, "candle_open_time": open_ms, "candle_version": version}


@pytest.mark.parametrize("older", [value_of(1_770_000_000_000, 9), value_of(1_770_000_300_000, 0)])
def test_the_value_of_an_older_candle_or_revision_is_neither_kept_nor_told(redis_state, hear, older):
    """Two tasks computed at once, and the one that had read the window first comes last."""
    place = ("x", "BTC-USDT", "5m", "macdv")
    newest = value_of(1_770_000_300_000, 1)
    heard = hear(keys.channel_indicator(*place))
    publish.indicators({place: newest})
    publish.indicators({place: older})
    assert heard(1) == [newest] == [json.loads(redis_state.get(keys.indicator(*place)))]


def test_an_equal_value_is_told_once_and_another_of_the_same_candle_again(hear):
    """A revision further back changes the value of the newest candle."""
    place = ("x", "BTC-USDT", "5m", "macdv")
    before, moved = value_of(1_770_000_300_000, 0), value_of(1_770_000_300_000, 0, macdv=2.5)
    heard = hear(keys.channel_indicator(*place))
    for value in (before, before, moved, moved):
        publish.indicators({place: value})
    assert heard(2) == [before, moved]


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
    publish.indicators({})
    publish.signals([])
    assert redis_state.keys("*") == []
