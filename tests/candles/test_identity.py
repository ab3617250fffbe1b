"""One ticker, two assets: found by their prices, never a signal, told to people once."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from candles.signals.collision import strangers
from candles.signals.guards import Suppression, of_market
from livermore.core import keys
from tests.candles.market import START_MS, Venue, ramp
from tests.candles.test_signals_service import (  # noqa: F401 (the fixture lists the markets)
    FOLLOWER,
    LEADER,
    _listed,
    play,
    published,
    suppressed,
)

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("prices", "unsure"),
    [
        ({}, set()),
        ({"a": 1.0}, set()),
        ({"a": 1.0, "b": 1.99}, set()),
        ({"a": 1.0, "b": 40.0}, {"a", "b"}),
        ({"a": 1.0, "b": 1.1, "c": 40.0}, {"c"}),
        ({"a": 1.0, "b": 1.1, "c": 0.4}, {"c"}),
        ({"a": 1.0, "b": 1.1, "c": 40.0, "d": 41.0}, {"a", "b", "c", "d"}),
    ],
)
def test_who_disagrees_with_the_most_is_a_stranger(prices, unsure):
    assert strangers(prices) == unsure


def test_another_asset_under_the_same_ticker_makes_no_signal_and_one_notice(redis_state):
    """D13: forty times the price at the follower, while the leader moves as it does for a signal."""
    other = Venue("binance_us", ramp(64_000 * 40, 80, 40, 42))
    play(redis_state, LEADER, other)
    assert published(redis_state) == []
    assert suppressed(redis_state).keys() == {str(Suppression.IDENTITY_UNSURE)}
    alerts = [json.loads(fields[b"event"]) for _, fields in redis_state.xrange(keys.alerts_stream())]
    assert [(a["kind"], a["exchange"], a["symbol"]) for a in alerts] == [
        ("identity_unsure", "binance_us", "BTC-USD"),
        ("identity_unsure", "coinbase", "BTC-USD"),
    ]
    assert "coinbase:BTC-USD at 64" in alerts[0]["message"]


def test_the_odd_one_out_does_not_hold_back_the_others(redis_state):
    other = Venue("binance", lambda at_s: 1_600.0, symbol="BTC-USDT")
    dollar = Venue("coinbase", lambda at_s: 1.0, symbol="USDT-USD")
    play(redis_state, LEADER, FOLLOWER, other, dollar)
    events = published(redis_state)
    assert {e["follower"]["exchange"] for e in events if e["kind"] == "LEADER_MOVE"} == {"binance_us"}
    assert "binance" not in {e[leg]["exchange"] for e in events for leg in ("leader", "follower") if e[leg]}
    (alert,) = [json.loads(fields[b"event"]) for _, fields in redis_state.xrange(keys.alerts_stream())]
    assert (alert["exchange"], alert["symbol"]) == ("binance", "BTC-USDT")


def test_the_guard_names_it():
    market = LEADER.market(START_MS + 30_000)
    unsure = replace(market, health=replace(market.health, is_identity_sure=False))
    assert of_market(unsure) is Suppression.IDENTITY_UNSURE
