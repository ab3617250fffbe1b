"""What the stream host says decides whether silence is silence, and which silent buckets close."""

from __future__ import annotations

from decimal import Decimal

import pytest
import redis

from candles import ledger
from candles.ledger import GRACE_MS, Bucket
from candles.models import Candle
from candles.services.coverage import MARKED_LIFE_S, coverage, mark_silent
from livermore.core import keys
from symbols.models import ExchangeSymbol
from tests.candles.streaming import streamed
from tests.support.trades import BUCKET_MS

AT = "binance"
NOW_MS = 1_770_000_000_000 + 5_000  # five seconds into a bucket
OPEN_MS = 1_770_000_000_000 - BUCKET_MS


@pytest.fixture
def listed(db, redis_state):
    for base in ("BTC", "ETH"):
        ExchangeSymbol(exchange_id=AT, native=f"{base}USDT", base=base, quote="USDT", tier=1).save()
    ExchangeSymbol(exchange_id=AT, native="OLDUSDT", base="OLD", quote="USDT").save()  # nobody follows it
    return redis_state


def due(at_ms: int = NOW_MS + 3_600_000) -> set[Bucket]:
    return set(ledger.claim(AT, at_ms, 1_000))


def both(open_ms: int) -> set[Bucket]:
    return {Bucket("BTC-USDT", open_ms), Bucket("ETH-USDT", open_ms)}


def test_nothing_is_known_of_an_exchange_without_a_host(redis_state):
    state = coverage(AT)
    assert (state.is_started, state.since_ms, state.updated_ms) == (False, 0, 0)
    assert not state.covers(0)
    assert not state.is_unheard(0)


def test_a_bucket_is_covered_once_the_host_was_heard_after_it(redis_state):
    streamed(redis_state, AT, since_ms=5, heard_ms=100)
    assert coverage(AT).covers(100)
    assert not coverage(AT).covers(101)
    assert coverage(AT).is_unheard(101)


def test_a_stream_of_which_one_connection_is_down_covers_nothing(redis_state):
    streamed(redis_state, AT, since_ms=0, heard_ms=100)
    assert coverage(AT).is_started
    assert not coverage(AT).covers(50)
    assert not coverage(AT).is_unheard(500)


@pytest.mark.parametrize("state", ["idle", "checking_geo", "refused", "draining"])
def test_silence_is_not_marked_while_nothing_is_started(listed, state):
    streamed(listed, AT, since_ms=1, state=state)
    for now_ms in (NOW_MS, NOW_MS + BUCKET_MS):
        mark_silent(AT, now_ms)
    assert due() == set()


@pytest.mark.parametrize("state", ["streaming", "degraded", "backing_off", "paused"])
def test_what_is_followed_is_marked_once_a_bucket_but_for_the_first(listed, state):
    streamed(listed, AT, since_ms=1, state=state)
    mark_silent(AT, NOW_MS)
    assert due() == set()
    mark_silent(AT, NOW_MS + BUCKET_MS)
    assert due(NOW_MS + BUCKET_MS + GRACE_MS) == both(OPEN_MS + BUCKET_MS)
    listed.delete(keys.due(AT))
    mark_silent(AT, NOW_MS + BUCKET_MS + 2_000)
    assert due() == set()


def test_buckets_that_nobody_marked_in_time_are_made_up_for(listed):
    """The workers stood still for a quarter of an hour."""
    streamed(listed, AT, since_ms=1)
    mark_silent(AT, NOW_MS)
    mark_silent(AT, NOW_MS + 3 * BUCKET_MS)
    assert due() == set().union(*(both(OPEN_MS + n * BUCKET_MS) for n in (1, 2, 3)))


def test_a_marking_that_was_cut_short_is_made_up_for(listed):
    streamed(listed, AT, since_ms=1)
    mark_silent(AT, NOW_MS)
    listed.set(keys.due(AT), "no sorted set")  # whoever marks falls over it
    with pytest.raises(redis.ResponseError):
        mark_silent(AT, NOW_MS + BUCKET_MS)
    listed.delete(keys.due(AT))
    mark_silent(AT, NOW_MS + BUCKET_MS + 1_000)
    assert due() == both(OPEN_MS + BUCKET_MS)


def test_a_mark_does_not_outlive_an_hour_of_rest(listed):
    streamed(listed, AT, since_ms=1)
    mark_silent(AT, NOW_MS)
    assert 0 < listed.ttl(keys.marked(AT)) <= MARKED_LIFE_S
    listed.delete(keys.marked(AT))
    mark_silent(AT, NOW_MS + 20 * BUCKET_MS)
    assert due() == set()


def test_a_clock_that_goes_back_marks_nothing_again(listed):
    streamed(listed, AT, since_ms=1)
    mark_silent(AT, NOW_MS + BUCKET_MS)
    mark_silent(AT, NOW_MS)
    assert due() == set()


@pytest.mark.parametrize(
    ("source", "ago", "marked"), [("trades", 3, 3), ("adopted", 1, 1), ("rest", 2, 0), (None, 0, 0)]
)
def test_where_redis_forgot_what_was_marked_the_table_tells(listed, source, ago, marked):
    streamed(listed, AT, since_ms=1)
    if source:
        newest_ms, one = OPEN_MS - (ago - 1) * BUCKET_MS, Decimal(1)
        symbol = ExchangeSymbol.objects.get(base="BTC")
        Candle.objects.create(
            symbol=symbol, timeframe="5m", open_ms=newest_ms, open=one, high=one, low=one, close=one, volume=one,
            source=source, quality="proven",
        )  # fmt: skip
    mark_silent(AT, NOW_MS)
    assert {bucket.open_ms for bucket in due()} == {OPEN_MS - at * BUCKET_MS for at in range(marked)}
