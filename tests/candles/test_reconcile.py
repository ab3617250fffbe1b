"""Candles against the venue's own: equal ones are proven, others are cases and are mended."""

from __future__ import annotations

from decimal import Decimal

import pytest

from candles import compare, ledger, slab
from candles.ledger import Bucket
from candles.models import Candle as Row
from candles.models import Mismatch
from candles.services import quality, reconcile
from candles.services.close import close
from candles.services.repair import repair
from exchanges import registry
from exchanges.models import Exchange
from exchanges.services import rest
from exchanges.simulation.stage import Options
from exchanges.venue import Backfill
from livermore.core.candle import Timeframe
from livermore.core.errors import InvalidInput
from symbols import services as symbols
from symbols.models import ExchangeSymbol
from tests.candles.streaming import now_ms, past, streamed
from tests.support.simulation import simulated
from tests.support.trades import BUCKET_MS

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # python-binance's imports
]
MARKETS = {
    "binance": ("BTCUSDT", "BTC-USDT"),
    "binance_us": ("BTCUSDT", "BTC-USDT"),
    "coinbase": ("BTC-USD", "BTC-USD"),
    "kucoin": ("BTC-USDT", "BTC-USDT"),
    "mexc": ("BTCUSDT", "BTC-USDT"),
}
BUCKETS = 12
PATIENT = Options(weight_limit=1_000_000)


@pytest.fixture(scope="module")
def market():
    """An hour of trades; the clock stands still, a quarter of an hour ago by ours."""
    open_ms = past(BUCKETS + 3, aligned_ms=3 * BUCKET_MS)
    with simulated(*MARKETS, start_ms=open_ms, is_paused=True, has_episodes=False, options=PATIENT) as running:
        running.call(running.simulation.advance, BUCKETS * 300)
        running.open_ms = open_ms
        yield running


@pytest.fixture(params=MARKETS)
def venue(request, market, redis_state, settings):
    settings.EXCHANGE_ENDPOINTS = market.endpoints
    Exchange.objects.update(rest_weight=1_000_000)
    slug = request.param
    symbols.sync(slug, rest(slug))
    ExchangeSymbol.objects.filter(exchange_id=slug, name=MARKETS[slug][1]).update(tier=1)
    streamed(redis_state, slug, since_ms=market.open_ms - BUCKET_MS)
    return slug


def opens(market) -> range:
    return range(market.open_ms, market.open_ms + BUCKETS * BUCKET_MS, BUCKET_MS)


def build(market, slug: str, *, wrong: dict[int, str] | None = None) -> None:
    """Candles as they came of the stream; `wrong` is another price in one trade of a bucket."""
    native, name = MARKETS[slug]
    if gives_trades(slug):
        trades = list(rest(slug).trades(native, name, market.open_ms, opens(market).stop))
    else:
        trades = market.call(market.simulation.trades, slug, native)
    for open_ms, price in (wrong or {}).items():
        at = next(i for i, t in enumerate(trades) if t.time_ns // 1_000_000 >= open_ms)
        trades[at] = trades[at]._replace(price=price)
    ledger.store(slug, "c:0", slab.group(trades, now_ms() * 1_000_000), now_ms())
    assert close(slug, [Bucket(name, open_ms) for open_ms in opens(market)]).candles


def gives_trades(slug: str) -> bool:
    return registry.venue(slug).backfill in (Backfill.BY_ID, Backfill.BY_TIME)


def off(market, slug: str, open_ms: int) -> str:
    """A price a little above all of the bucket's own."""
    high = market.call(market.simulation.truth, slug, MARKETS[slug][0], open_ms).high
    return str(high * Decimal("1.001"))


def stored(slug: str, timeframe: Timeframe = Timeframe.M5) -> list[Row]:
    return list(Row.objects.of(slug, MARKETS[slug][1], str(timeframe)).order_by("open_ms"))


def is_true(market, row: Row, slug: str) -> bool:
    """Equal to what was generated, in every field that the venue tells."""
    truth = market.call(market.simulation.truth, slug, MARKETS[slug][0], row.open_ms)
    (said,) = rest(slug).klines(MARKETS[slug][0], Timeframe.M5, row.open_ms, row.open_ms + BUCKET_MS)
    told = [name for name in compare.FIELDS if getattr(said, name) is not None]
    if registry.venue(slug).turnover_shortened:
        told.remove("turnover")  # the venue's is no finer than its quote precision
        assert abs(row.turnover - truth.turnover) < Decimal("0.01")
    return all(getattr(row, name) == getattr(truth, name) for name in told)


def test_what_equals_the_venues_klines_is_proven(market, venue):
    build(market, venue)
    assert reconcile.wanted(venue) == [MARKETS[venue][1]]
    done = reconcile.reconcile(venue, MARKETS[venue][1])
    incomplete = [row for t in Timeframe for row in stored(venue, t) if row.parts and row.parts < t.buckets]
    assert {row.quality for row in incomplete} <= {"gapped"}
    assert done.checked == done.equal == Row.objects.count() - len(incomplete)
    assert done.checked > BUCKETS
    assert Mismatch.objects.count() == 0
    assert {(row.quality, row.differed, row.differs) for row in stored(venue)} == {("proven", 0, 0)}
    assert all(is_true(market, row, venue) for row in stored(venue))
    assert reconcile.wanted(venue) == []
    assert reconcile.reconcile(venue, MARKETS[venue][1]).checked == 0


def test_every_wrong_candle_is_found_and_mended(market, venue):
    lied = list(opens(market))[2::3]
    build(market, venue, wrong={open_ms: off(market, venue, open_ms) for open_ms in lied})
    name = MARKETS[venue][1]
    done = reconcile.reconcile(venue, name)
    cases = {case.open_ms: case for case in Mismatch.objects.filter(timeframe="5m")}
    assert sorted(cases) == lied
    assert all("high" in case.fields for case in cases.values())
    if gives_trades(venue):
        assert [one.from_ms for one in done.repairs] == lied
        for needed in done.repairs:
            assert repair(needed) is None
        close(venue, [Bucket(name, open_ms) for open_ms in lied])
        method = "trades"
    else:
        assert done.repairs == []
        method = "kline"
    reconcile.reconcile(venue, name)
    assert {(case.method, case.mended_at is None) for case in Mismatch.objects.all()} == {(method, False)}
    assert all(is_true(market, row, venue) for row in stored(venue))
    assert {row.open_ms for row in stored(venue) if row.differed} == set(lied)
    assert {row.differs for row in stored(venue)} == {0}
    assert reconcile.wanted(venue) == []
    (score,) = quality.scores(market.open_ms, by_symbol=True)
    assert (score.compared, score.compared - score.equal, score.unlike) == (BUCKETS, len(lied), 0)
    assert score.differing["high"] == len(lied)
    assert (score.standing_rate, score.present, score.expected) == (1.0, BUCKETS, BUCKETS)


@pytest.mark.parametrize("venue", ["binance"], indirect=True)
def test_where_trades_do_not_help_the_kline_is_taken(market, venue, monkeypatch):
    (lied,) = list(opens(market))[4:5]
    build(market, venue, wrong={lied: off(market, venue, lied)})
    assert reconcile.reconcile(venue, "BTC-USDT").repairs
    assert reconcile.reconcile(venue, "BTC-USDT").repairs == []  # asked for already
    Mismatch.objects.update(found_at=Mismatch.objects.get().found_at - reconcile.PATIENCE)
    reconcile.reconcile(venue, "BTC-USDT")
    assert Mismatch.objects.get().method == "kline"
    (row,) = [row for row in stored(venue) if row.open_ms == lied]
    assert (row.source, row.differed > 0, row.differs) == ("adopted", True, 0)
    assert is_true(market, row, venue)


@pytest.mark.parametrize("venue", ["coinbase", "kucoin"], indirect=True)
def test_a_bucket_that_we_lack_is_taken_from_the_venue(market, venue):
    build(market, venue)
    lost = list(opens(market))[5]
    Row.objects.filter(open_ms=lost, timeframe="5m").delete()
    reconcile.reconcile(venue, MARKETS[venue][1])
    (row,) = [row for row in stored(venue) if row.open_ms == lost]
    assert row.source == "adopted"
    assert is_true(market, row, venue)


@pytest.mark.parametrize("venue", ["kucoin"], indirect=True)
def test_a_revised_candle_is_compared_again(market, venue):
    build(market, venue)
    reconcile.reconcile(venue, "BTC-USDT")
    row = stored(venue)[3]
    Row.objects.filter(pk=row.pk).update(close=row.low, recorded_ms=row.checked_ms + 1, revision=row.revision + 1)
    assert reconcile.wanted(venue) == ["BTC-USDT"]
    done = reconcile.reconcile(venue, "BTC-USDT")
    assert (done.checked, done.equal) == (1, 0)
    again = Row.objects.get(pk=row.pk)
    assert (again.close, again.differed, again.differs) == (row.close, 0, 0)


def test_an_unknown_symbol_is_named(db):
    with pytest.raises(InvalidInput, match="binance has no symbol 'NO-ONE'"):
        reconcile.reconcile("binance", "NO-ONE")
