"""History from a venue's klines: settled ones only, without holes, and asked for once."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

import pytest

from candles import window
from candles.models import Candle as CandleRow
from candles.services import history
from candles.services.record import Closed, record
from exchanges.models import Exchange
from exchanges.services import rest
from exchanges.simulation.stage import Options
from livermore.core import keys
from livermore.core.candle import Candle, Kline, Quality, Reason, Source, Timeframe
from livermore.core.errors import GeoBlocked, VenueUnavailable
from symbols import services as symbols
from symbols.models import ExchangeSymbol
from tests.candles.streaming import now_ms, past
from tests.support.http_server import Answer, http_server
from tests.support.simulation import simulated
from tests.support.trades import BUCKET_MS

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # python-binance's imports
]
FIVE = Timeframe.M5
PATIENT = Options(weight_limit=1_000_000)
SUMS = ("open", "high", "low", "close", "volume", "turnover", "taker_buy_volume", "trades")


@pytest.fixture(scope="module")
def market():
    """An hour of trades up to now; what is before is invented by the venues."""
    open_ms = past(12)
    still = {"start_ms": open_ms, "is_paused": True, "has_episodes": False, "options": PATIENT}
    with simulated("binance", "coinbase", **still) as running:
        running.call(running.simulation.advance, (now_ms() - open_ms) / 1000)
        running.open_ms = open_ms
        yield running


@pytest.fixture
def venues(market, redis_state, settings):
    settings.EXCHANGE_ENDPOINTS = market.endpoints
    Exchange.objects.update(rest_weight=1_000_000)
    for slug in market.endpoints:
        symbols.sync(slug, rest(slug))
    ExchangeSymbol.objects.update(tier=1)
    return market


def series(slug: str, name: str, timeframe: Timeframe = FIVE) -> list[Candle]:
    return window.newest(slug, name, timeframe, 1_000)


def out_of_reach(settings) -> None:
    """From now on asking a venue anything is an error."""
    nowhere = {"rest": "http://127.0.0.1:9", "ws": "ws://127.0.0.1:9"}
    settings.EXCHANGE_ENDPOINTS = dict.fromkeys(("binance", "coinbase"), nowhere)


def test_every_timeframe_gets_its_bars_and_none_that_still_forms(venues):
    changed = history.load("binance", "BTC-USDT")
    assert changed == [("binance", "BTC-USDT", str(t)) for t in Timeframe]
    for timeframe in Timeframe:
        found = series("binance", "BTC-USDT", timeframe)
        opens = [c.open_ms for c in found]
        assert opens == list(range(opens[0], opens[0] + history.BARS * timeframe.ms, timeframe.ms))
        assert opens[-1] + timeframe.ms <= now_ms()
        assert {c.source for c in found} == {Source.REST}
    assert not CandleRow.objects.filter(open_ms__gte=now_ms() - BUCKET_MS).exists()


def test_history_says_what_the_venue_says(venues):
    history.load("binance", "BTC-USDT")
    found = {c.open_ms: c for c in series("binance", "BTC-USDT")}
    for open_ms in (venues.open_ms, venues.open_ms + 10 * BUCKET_MS):
        truth = venues.call(venues.simulation.truth, "binance", "BTCUSDT", open_ms)
        assert {n: getattr(found[open_ms], n) for n in SUMS} == {n: getattr(truth, n) for n in SUMS}


def test_a_second_call_asks_nothing(venues, settings):
    history.load("binance", "BTC-USDT")
    out_of_reach(settings)
    assert history.load("binance", "BTC-USDT") == []


def test_a_lost_window_comes_back_from_the_table_without_the_venue(venues, settings, redis_state):
    history.load("binance", "BTC-USDT")
    before = {t: series("binance", "BTC-USDT", t) for t in Timeframe}
    redis_state.flushdb()
    out_of_reach(settings)
    assert len(history.load("binance", "BTC-USDT")) == len(Timeframe)
    assert {t: series("binance", "BTC-USDT", t) for t in Timeframe} == before


def test_a_quiet_market_has_flat_candles_where_the_venue_says_nothing(venues):
    history.load("coinbase", "NMR-USD")
    found = series("coinbase", "NMR-USD")
    assert [c.open_ms for c in found] == list(range(found[0].open_ms, found[-1].open_ms + 1, BUCKET_MS))
    quiet = [(before, c) for before, c in pairwise(found) if c.is_synthetic]
    assert quiet, "the market was never quiet"
    for before, c in quiet:
        assert (c.open, c.close, c.volume, c.trades, c.quality) == (before.close, before.close, 0, 0, Quality.EMPTY)


def test_our_own_clean_candle_stays(venues):
    open_ms = past(3)
    prices = dict.fromkeys(("open", "high", "low", "close"), Decimal(7))
    ours = Candle("binance", "BTC-USDT", FIVE, open_ms, **prices, volume=Decimal(1), trades=2)
    record([Closed(ours, 2)])
    history.load("binance", "BTC-USDT")
    assert window.between("binance", "BTC-USDT", FIVE, open_ms, open_ms + 1) == [ours]


def test_only_the_exchanges_timeframes_are_loaded(venues):
    Exchange.objects.filter(pk="binance").update(timeframes=["5m", "1h"])
    assert [t for _, _, t in history.load("binance", "BTC-USDT")] == ["5m", "1h"]


def test_an_unknown_symbol_has_no_history(redis_state):
    assert history.load("binance", "NO-NE") == []


@pytest.mark.parametrize(("status", "error"), [(451, GeoBlocked), (503, VenueUnavailable)])
def test_a_refusal_is_the_callers_to_judge(venues, settings, redis_state, status, error):
    with http_server(lambda asked: Answer({"msg": "no"}, status)) as server:
        settings.EXCHANGE_ENDPOINTS = {"binance": {"rest": server.url, "ws": "ws://127.0.0.1:9"}}
        with pytest.raises(error):
            history.load("binance", "BTC-USDT")
    assert redis_state.keys(keys.candles("binance", "BTC-USDT", "*")) == []


# ---- klines as candles -------------------------------------------------------------------------

END_MS = 1_770_000_000_000
ONE = Kline(0, *(Decimal(p) for p in ("10", "12", "9", "11")), volume=Decimal(2))


def filled(*opens: int, end: int = 10, omits: bool = True) -> list[Candle]:
    """History of klines at these positions; the series ends at position `end`."""
    klines = [replace(ONE, open_ms=END_MS + n * BUCKET_MS) for n in opens]
    return history.fill("x", "BTC-USDT", FIVE, klines, END_MS + end * BUCKET_MS, omits=omits)


def positions(candles: list[Candle]) -> list[int]:
    return [(c.open_ms - END_MS) // BUCKET_MS for c in candles]


def test_holes_are_flat_at_the_close_before():
    found = filled(0, 3, end=4)
    assert positions(found) == [0, 1, 2, 3]
    assert [c.is_synthetic for c in found] == [False, True, True, False]
    assert {(c.open, c.close, c.reason) for c in found[1:3]} == {(Decimal(11), Decimal(11), Reason.NO_TRADES)}


def test_the_end_is_filled_up_and_nothing_goes_beyond_it():
    assert positions(filled(0, 1, end=4)) == [0, 1, 2, 3]
    assert positions(filled(0, 1, 2, 3, 4, end=3)) == [0, 1, 2]


def test_a_venue_that_always_answers_has_not_said_what_its_answer_lacks():
    assert positions(filled(0, 1, end=4, omits=False)) == [0, 1]


def test_the_order_of_klines_is_no_matter():
    assert filled(2, 0, 1, end=3) == filled(0, 1, 2, end=3)


def test_nothing_comes_of_nothing():
    assert filled() == []
    assert filled(12, end=10) == []


def test_a_kline_without_volume_is_synthetic():
    silent = replace(ONE, open_ms=END_MS, volume=Decimal(0))
    (found,) = history.fill("x", "BTC-USDT", FIVE, [silent], END_MS + BUCKET_MS, omits=False)
    assert (found.is_synthetic, found.quality) == (True, Quality.EMPTY)
