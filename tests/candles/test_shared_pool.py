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
AT, BTC = "binance", "BTC-USDT"


def pool(client) -> dict[bytes, list]:
    return {key: client.zrange(key, 0, -1, withscores=True) for key in client.scan_iter("candles:*")}


def test_two_users_share_one_key_a_timeframe_and_leave_it_untouched(redis_state):
    symbol = ExchangeSymbol.objects.create(exchange_id=AT, native="BTCUSDT", base="BTC", quote="USDT")
    users = [get_user_model().objects.create(username=name) for name in ("ann", "bob")]
    open_ms = past(12, aligned_ms=Timeframe.H1.ms)
    streamed(redis_state, AT, since_ms=open_ms - BUCKET_MS)
    store(AT, BTC, make(600, ["BTCUSDT"], open_ms, 12))
    for user in users:
        services.follow(user, symbol)
        close(AT, [Bucket(BTC, open_ms + n * BUCKET_MS) for n in range(12)])
    before = pool(redis_state)
    made = (Timeframe.M5, Timeframe.M15, Timeframe.M30, Timeframe.H1)
    assert set(before) == {keys.candles(AT, BTC, timeframe).encode() for timeframe in made}
    assert [len(before[keys.candles(AT, BTC, timeframe).encode()]) for timeframe in made] == [12, 4, 2, 1]
    for user in users:
        user.delete()
        assert pool(redis_state) == before
    assert not symbol.subscriptions.exists()
