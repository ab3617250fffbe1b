"""M17, M22: a series follows its symbol into the shared pool and out of it, bar by bar, and ends with its follower."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone

from candles import window
from candles.services import overflow
from candles.services.record import Closed, record
from exchanges.models import Exchange
from livermore.core import keys
from livermore.core.candle import Candle, Timeframe
from symbols import services
from symbols.models import ExchangeSymbol
from tests.support import builders

pytestmark = pytest.mark.django_db
AT, NAME, FIVE, HOUR = "binance", "RARE-USDT", Timeframe.M5, Timeframe.H1
OPEN_MS = 1_770_001_200_000


@pytest.fixture
def symbol(redis_state):
    return builders.symbol(Exchange.objects.get(pk=AT), NAME)


@pytest.fixture
def users(db):
    return [get_user_model().objects.create(username=name) for name in ("ann", "bob")]


def candle(n: int, price: str = "10", timeframe: Timeframe = FIVE, **fields) -> Candle:
    return Candle(AT, NAME, timeframe, OPEN_MS + n * timeframe.ms, *[Decimal(price)] * 4, Decimal(1), **fields)


def closed(*opens: int, timeframe: Timeframe = FIVE) -> None:
    record([Closed(candle(n, timeframe=timeframe), 1) for n in opens])


def of(client, key: str) -> list[int]:
    return [int(score - OPEN_MS) // FIVE.ms for _, score in client.zrange(key, 0, -1, withscores=True)]


def tier(symbol: ExchangeSymbol, tier: int | None) -> None:
    ExchangeSymbol.objects.filter(pk=symbol.pk).update(tier=tier)


def test_entering_tier_1_keeps_every_bar_and_leaves_no_overflow(symbol, users, redis_state):
    own = [keys.user_candles(user.pk, AT, NAME, FIVE) for user in users]
    shared = keys.candles(AT, NAME, FIVE)
    services.follow(users[0], symbol)
    closed(0, 1, 2)
    closed(0, timeframe=HOUR)
    services.follow(users[1], symbol)
    closed(2, 3)
    assert [of(redis_state, key) for key in own] == [[0, 1, 2, 3], [2, 3]]
    redis_state.zremrangebyrank(own[0], 3, 3)  # the union of both is more than either has
    tier(symbol, 1)
    closed(4)
    assert of(redis_state, shared) == [4]
    done = overflow.settle(AT)
    assert of(redis_state, shared) == [0, 1, 2, 3, 4]
    assert redis_state.zcard(keys.candles(AT, NAME, HOUR)) == 1
    assert list(redis_state.scan_iter("usercandles:*")) == []
    assert (done.promoted, redis_state.ttl(shared)) == (3, -1)
    assert overflow.settle(AT) == overflow.Settled()


def test_leaving_tier_1_leaves_the_bars_with_whoever_follows(symbol, users, redis_state):
    tier(symbol, 1)
    closed(0, 1)
    closed(0, timeframe=HOUR)
    services.follow(users[0], symbol)
    tier(symbol, 2)
    overflow.settle(AT)
    assert list(redis_state.scan_iter("candles:*")) == []
    assert of(redis_state, keys.user_candles(users[0].pk, AT, NAME, FIVE)) == [0, 1]
    assert redis_state.zcard(keys.user_candles(users[0].pk, AT, NAME, HOUR)) == 1
    closed(2)
    assert window.newest(AT, NAME, FIVE, 9) == [candle(n) for n in range(3)]


def test_where_nobody_follows_a_window_stays_a_day_and_comes_back_with_its_symbol(symbol, redis_state):
    tier(symbol, 1)
    closed(0, 1)
    shared = keys.candles(AT, NAME, FIVE)
    tier(symbol, None)
    assert overflow.settle(AT).left == 1
    assert 0 < redis_state.ttl(shared) <= window.OVERFLOW_S
    closed(2)
    assert of(redis_state, shared) == [0, 1]
    tier(symbol, 1)
    overflow.settle(AT)
    assert redis_state.ttl(shared) == -1


def test_only_a_live_subscription_keeps_its_overflow(symbol, users, redis_state):
    own = [keys.user_candles(user.pk, AT, NAME, FIVE) for user in users]
    for user in users:
        services.follow(user, symbol)
    closed(0)
    for key in own:
        redis_state.expire(key, 100)
    symbol.subscriptions.filter(user=users[1]).update(expires_at=timezone.now() - timedelta(seconds=1))
    overflow.settle(AT)
    assert redis_state.ttl(own[0]) > window.OVERFLOW_S // 2
    assert redis_state.ttl(own[1]) <= 100
    closed(1)
    assert [of(redis_state, key) for key in own] == [[0, 1], [0]]
    assert redis_state.ttl(own[1]) <= 100


def test_who_follows_later_gets_the_bars_that_there_are(symbol, users, redis_state):
    services.follow(users[0], symbol)
    closed(0, 1)
    services.follow(users[1], symbol)
    assert overflow.settle(AT).filled == 1
    assert of(redis_state, keys.user_candles(users[1].pk, AT, NAME, FIVE)) == [0, 1]


def test_an_event_is_told_once_however_many_follow(symbol, users, redis_state):
    for user in users:
        services.follow(user, symbol)
    listener = redis_state.pubsub(ignore_subscribe_messages=True)
    listener.subscribe(keys.channel_closed(AT, NAME, FIVE))
    listener.get_message(timeout=1)
    closed(0)
    assert listener.get_message(timeout=2)
    assert listener.get_message(timeout=0.05) is None
    listener.close()


def test_a_symbol_that_enters_the_pool_while_a_candle_is_written_loses_none(symbol, users, redis_state, monkeypatch):
    """Whoever moves the series comes between the look-up and the write."""
    services.follow(users[0], symbol)
    closed(0)
    put, calls = window._put, []

    def slow(candles, places, *, tell):
        if not calls:
            calls.append(1)
            tier(symbol, 1)
            overflow.settle(AT)
        put(candles, places, tell=tell)

    monkeypatch.setattr(window, "_put", slow)
    window.put([candle(1)])
    overflow.settle(AT)
    assert of(redis_state, keys.candles(AT, NAME, FIVE)) == [0, 1]
    assert list(redis_state.scan_iter("usercandles:*")) == []
