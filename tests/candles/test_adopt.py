"""Gaps of venues that give no trades again end with the venue's own kline."""

from __future__ import annotations

import time
from decimal import Decimal

import pytest

from candles import window
from candles.models import Gap
from candles.services.adopt import adopt, wanted
from candles.services.record import Closed, record
from exchanges.models import Exchange
from exchanges.services import rest
from exchanges.simulation.stage import Options
from livermore.core.candle import Candle, Quality, Reason, Source, Timeframe
from symbols import services as symbols
from symbols.models import ExchangeSymbol
from tests.candles.streaming import past
from tests.support.simulation import simulated
from tests.support.trades import BUCKET_MS

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
MARKETS = {"kucoin": ("BTC-USDT", "BTC-USDT"), "mexc": ("BTCUSDT", "BTC-USDT")}
NS = 1_000_000
PATIENT = Options(weight_limit=1_000_000)


@pytest.fixture(scope="module")
def market():
    open_ms = past(9)  # its clock stands still with one bucket to go that is over on ours
    with simulated(*MARKETS, start_ms=open_ms, is_paused=True, has_episodes=False, options=PATIENT) as running:
        running.call(running.simulation.advance, 7 * 300)
        running.open_ms = open_ms
        yield running


@pytest.fixture(params=MARKETS)
def slug(request, market, redis_state, settings):
    settings.EXCHANGE_ENDPOINTS = market.endpoints
    Exchange.objects.update(rest_weight=1_000_000)
    symbols.sync(request.param, rest(request.param))
    ExchangeSymbol.objects.update(tier=1)
    return request.param


def gap(slug: str, from_ms: int, to_ms: int) -> Gap:
    return Gap.objects.create(
        exchange_id=slug, symbol="BTC-USDT", from_ns=from_ms * NS, to_ns=to_ms * NS, cause="disconnect"
    )


def test_every_bucket_that_a_gap_touches_becomes_the_venues_kline(slug, market):
    first = market.open_ms
    row = gap(slug, first + 100_000, first + 2 * BUCKET_MS + 1_000)
    partial = Candle(
        slug, "BTC-USDT", Timeframe.M5, first, *[Decimal(1)] * 5, Decimal(1), Decimal(0), 1, quality=Quality.GAPPED
    )
    record([Closed(partial, 1)])
    assert (slug, "BTC-USDT") in wanted()
    adopt(slug, "BTC-USDT")
    found = window.between(slug, "BTC-USDT", Timeframe.M5, first, first + 3 * BUCKET_MS)
    assert [c.open_ms for c in found] == [first, first + BUCKET_MS, first + 2 * BUCKET_MS]
    for candle in found:
        truth = market.call(market.simulation.truth, slug, MARKETS[slug][0], candle.open_ms)
        assert (candle.open, candle.high, candle.low, candle.close) == (truth.open, truth.high, truth.low, truth.close)
        assert candle.volume == truth.volume
        assert (candle.source, candle.quality) == (Source.ADOPTED, Quality.PROVEN)
    assert found[0].revision == 1
    row.refresh_from_db()
    assert row.method == "kline"
    assert row.closed_at is not None
    assert (slug, "BTC-USDT") not in wanted()


def test_a_gap_whose_last_bucket_still_runs_stays_open(slug):
    now_ms = int(time.time() * 1000)
    row = gap(slug, now_ms - 2_000, now_ms - 1_000)
    assert adopt(slug, "BTC-USDT") == []
    row.refresh_from_db()
    assert row.closed_at is None


def test_adopting_twice_changes_nothing(slug, market):
    gap(slug, market.open_ms, market.open_ms + 1_000)
    (once,) = adopt(slug, "BTC-USDT")
    gap(slug, market.open_ms + 1, market.open_ms + 1_000)
    (again,) = adopt(slug, "BTC-USDT")
    assert again == once


def test_an_interval_that_an_omitting_venue_leaves_out_is_quiet(redis_state, settings, market):
    settings.EXCHANGE_ENDPOINTS = market.endpoints
    symbols.sync("kucoin", rest("kucoin"))
    silent = market.open_ms + 7 * BUCKET_MS
    known = Candle("kucoin", "BTC-USDT", Timeframe.M5, silent - BUCKET_MS, *[Decimal(7)] * 4, Decimal(1))
    record([Closed(known, 1)])
    gap("kucoin", silent, silent + 1_000)
    (candle,) = adopt("kucoin", "BTC-USDT")
    assert (candle.close, candle.reason, candle.quality) == (7, Reason.NO_TRADES, Quality.EMPTY)
