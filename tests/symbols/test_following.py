"""Symbols added by hand: one row however written, an end unless pinned, begun at once where the exchange streams."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
import redis
from django.contrib.auth import get_user_model
from django.utils import timezone

from exchanges import control
from livermore.core import keys
from livermore.core.errors import InvalidInput
from symbols import following, tasks
from symbols.choosing import UnknownSymbol
from symbols.models import UserSymbolSubscription
from tests.support import builders

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann():
    return get_user_model().objects.create(username="ann")


@pytest.fixture
def toy(redis_state):
    at = builders.exchange("toy")
    builders.symbol(at, "BTC-USDT", tier=1)
    builders.symbol(at, "DOGE-USDT")
    builders.symbol(at, "OLD-USDT", is_trading=False)
    return at


@pytest.fixture
def queued(redis_server):
    with redis.Redis.from_url(redis_server.broker_url) as broker:
        broker.delete("default")
        yield lambda: [json.loads(m)["headers"] for m in broker.lrange("default", 0, -1)]


def test_three_spellings_are_one_row_whose_time_begins_anew(ann, toy):
    for text in ("dogeusdt", "DOGE_USDT", "DOGE-USDT"):
        following.add(ann, "toy", text, days=2)
    row = UserSymbolSubscription.objects.get()
    assert (row.symbol.name, row.symbol.tier, row.reasons) == ("DOGE-USDT", 2, ["manual"])
    assert timedelta(days=1, hours=23) < row.expires_at - timezone.now() <= timedelta(days=2)


def test_what_is_pinned_has_no_end(ann, toy):
    following.add(ann, "toy", "DOGE-USDT")
    row = following.add(ann, "toy", "DOGE-USDT", is_pinned=True, note="mine")
    assert (row.is_pinned, row.expires_at, row.note) == (True, None, "mine")


@pytest.mark.parametrize(("text", "error"), [("DOGE-XYZ", UnknownSymbol), ("OLD-USDT", InvalidInput)])
def test_what_cannot_be_followed_is_refused_with_a_reason(ann, toy, text, error):
    with pytest.raises(error, match=r"nearest: DOGE-USDT|does not trade at toy now"):
        following.add(ann, "toy", text)
    assert not UserSymbolSubscription.objects.exists()


@pytest.mark.parametrize("days", [0, 366])
def test_days_are_bounded(ann, toy, days):
    with pytest.raises(InvalidInput, match="accepted: 1 to 365"):
        following.add(ann, "toy", "DOGE-USDT", days=days)


def test_where_the_exchange_streams_host_and_history_are_told_at_once(ann, toy, redis_state, queued):
    redis_state.hset(keys.stream("toy"), mapping={"state": "streaming"})
    tasks.begin(following.add(ann, "toy", "doge/usdt").symbol, "ann")
    assert [(h["task"], h["argsrepr"], h["kwargsrepr"]) for h in queued()] == [
        ("candles.load_history", "toy DOGE-USDT", "{'is_awaited': True}")
    ]
    [(_, entry)] = redis_state.xrange(keys.control("toy"))
    assert control.result(entry[b"id"].decode()).status == "pending"


def test_an_idle_exchange_is_left_alone(ann, toy, redis_state, queued):
    tasks.begin(following.add(ann, "toy", "DOGE-USDT").symbol, "ann")
    assert queued() == []
    assert not redis_state.exists(keys.control("toy"))
