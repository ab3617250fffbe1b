"""Whoever follows a symbol and whoever stops: its candles are one shared pool and stay as they are."""

from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model

from candles.ledger import Bucket
from candles.services.close import close
from livermore.core import keys
from livermore.core.candle import Timeframe
from symbols import services
from symbols.models import ExchangeSymbol
from tests.candles.streaming import past, store, streamed
from tests.support.trades import BUCKET_MS, make

pytestmark = pytest.mark.django_db
AT, BTC, RARE = "binance", "BTC-USDT", "RARE-USDT"
MADE = (Timeframe.M5, Timeframe.M15, Timeframe.M30, Timeframe.H1)


@pytest.fixture
def users():
    return [get_user_model().objects.create(username=name) for name in ("ann", "bob")]


def series(client, pattern: str = "candles:*") -> dict[str, list]:
    return {key.decode(): client.zrange(key, 0, -1, withscores=True) for key in client.scan_iter(pattern)}


def traded(redis_state, symbol: ExchangeSymbol) -> list[Bucket]:
    """An hour of trades in slabs, ready to be closed."""
    open_ms = past(12, aligned_ms=Timeframe.H1.ms)
    streamed(redis_state, AT, since_ms=open_ms - BUCKET_MS)
    store(AT, symbol.name, make(600, [symbol.native], open_ms, 12))
    return [Bucket(symbol.name, open_ms + n * BUCKET_MS) for n in range(12)]


def test_two_users_share_one_key_a_timeframe_and_leave_it_untouched(redis_state, users):
    symbol = ExchangeSymbol.objects.create(exchange_id=AT, native="BTCUSDT", base="BTC", quote="USDT", tier=1)
    buckets = traded(redis_state, symbol)
    for user in users:
        services.follow(user, symbol)
        close(AT, buckets)
    before = series(redis_state)
    assert set(before) == {keys.candles(AT, BTC, timeframe) for timeframe in MADE}
    assert [len(before[keys.candles(AT, BTC, timeframe)]) for timeframe in MADE] == [12, 4, 2, 1]
    assert series(redis_state, "usercandles:*") == {}
    for user in users:
        user.delete()
        assert series(redis_state) == before
    assert not symbol.subscriptions.exists()


def test_what_only_users_follow_lies_with_each_of_them_and_goes_with_him(redis_state, users):
    pooled = ExchangeSymbol.objects.create(exchange_id=AT, native="BTCUSDT", base="BTC", quote="USDT", tier=1)
    close(AT, traded(redis_state, pooled))
    before = series(redis_state)
    symbol = ExchangeSymbol.objects.create(exchange_id=AT, native="RAREUSDT", base="RARE", quote="USDT")
    for user in users:
        services.follow(user, symbol)
    left, gone = ([keys.user_candles(user.pk, AT, RARE, t) for t in MADE] for user in users)
    buckets = traded(redis_state, symbol)
    close(AT, buckets[:6])
    users[1].delete()
    close(AT, buckets[6:])
    assert series(redis_state) == before
    theirs = series(redis_state, "usercandles:*")
    assert [len(theirs[key]) for key in left] == [12, 4, 2, 1]
    assert [len(theirs.get(key, ())) for key in gone] == [6, 2, 1, 0]
    assert all(0 < redis_state.ttl(key) <= 86_400 for key in theirs)


def test_what_nobody_follows_is_closed_from_the_table_and_has_no_window(redis_state):
    symbol = ExchangeSymbol.objects.create(exchange_id=AT, native="RAREUSDT", base="RARE", quote="USDT")
    buckets = traded(redis_state, symbol)
    found = [c for at in range(0, 12, 3) for c in close(AT, buckets[at : at + 3]).candles]
    assert {t: sum(c.timeframe is t for c in found) for t in MADE} == dict(zip(MADE, (12, 4, 2, 1), strict=True))
    assert series(redis_state) == series(redis_state, "usercandles:*") == {}
