"""Backfill against simulated venues: exactly the missing bars, whatever is omitted, refused or there already."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from candles import window
from candles.models import Candle as CandleRow
from candles.planning import Plan, pages
from candles.services import backfill
from candles.services.backfill import Backfill
from candles.services.history import SETTLED_MS
from candles.services.record import Closed, record
from exchanges import ratelimit, registry
from exchanges.models import Exchange
from exchanges.services import rest
from exchanges.simulation.stage import Options
from exchanges.venue import KlinePage
from livermore.core.candle import Candle, Quality, Source, Timeframe
from livermore.core.errors import GeoBlocked
from symbols import services as symbols
from symbols.models import ExchangeSymbol
from tests.candles.streaming import now_ms, past
from tests.support.simulation import Running, simulated
from tests.support.trades import BUCKET_MS

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # python-binance's imports
]
FIVE = Timeframe.M5
TRADED, IDLE, AFTER = 3, 5, 3
VENUES = sorted(registry.slugs())
PRICES = ("open", "high", "low", "close")


class Market:
    """Every venue: BTC traded, then idle, then traded again; `asked` counts REST answers by path.

    `end_ms` is settled whatever the clock says next: the market stands still, and bars that end later are not in it.
    """

    def __init__(self, running: Running, open_ms: int) -> None:
        self.sim, self.open_ms = running, open_ms
        self.end_ms = open_ms + (TRADED + IDLE + AFTER - 1) * BUCKET_MS
        self.asked: Counter[str] = Counter()
        for server in running.simulation.servers.values():
            self._count(server.venue)

    def _count(self, venue: Any) -> None:
        honest = venue.answer

        def answer(request: web.Request) -> web.Response:
            self.asked[request.path] += 1
            return honest(request)

        venue.answer = answer

    def plan(self, slug: str, symbols: list[ExchangeSymbol], timeframes: list[Timeframe], bars: int = 0) -> Plan:
        """Of the newest so many 5m bars, or of the usual."""
        from_ms = self.end_ms - bars * BUCKET_MS if bars else None
        return backfill.plan(slug, symbols, timeframes, from_ms, self.end_ms)

    @property
    def klines_asked(self) -> int:
        return sum(n for path, n in self.asked.items() if path.endswith(("/klines", "/candles")))


@pytest.fixture(scope="module")
def running():
    open_ms = past(TRADED + IDLE + AFTER)
    options = Options(weight_limit=1_000_000)
    with simulated(start_ms=open_ms, is_paused=True, has_episodes=False, options=options) as sim:
        sim.call(sim.simulation.advance, TRADED * BUCKET_MS / 1000)
        for slug in VENUES:
            sim.call(sim.simulation.market.silence, slug, "BTC", IDLE * BUCKET_MS / 1000)
        sim.call(sim.simulation.advance, (now_ms() - open_ms) / 1000 - TRADED * BUCKET_MS / 1000)
        yield Market(sim, open_ms)


@pytest.fixture
def market(running, redis_state, settings):
    settings.EXCHANGE_ENDPOINTS = running.sim.endpoints
    Exchange.objects.update(rest_weight=1_000_000)
    return running


def btc(slug: str) -> ExchangeSymbol:
    if not ExchangeSymbol.objects.filter(exchange_id=slug).exists():
        symbols.sync(slug, rest(slug))
        ExchangeSymbol.objects.filter(exchange_id=slug).update(tier=1)
    return ExchangeSymbol.objects.filter(exchange_id=slug, base="BTC", is_trading=True).order_by("name").first()


def cut(plan: Plan, bars: int) -> Plan:
    """The same plan in smaller pages, so that their joints lie where the market was idle."""
    small = [
        replace(s, pages=tuple(pages([], s.from_ms, s.to_ms, s.timeframe, KlinePage(bars, 1)))) for s in plan.series
    ]
    return replace(plan, series=small)


def stored(symbol: ExchangeSymbol, timeframe: Timeframe = FIVE) -> dict[int, CandleRow]:
    rows = CandleRow.objects.filter(symbol=symbol, timeframe=str(timeframe)).order_by("open_ms")
    return {row.open_ms: row for row in rows}


def done(plan: Plan) -> Backfill:
    work = Backfill(plan)
    work.run()
    return work


# ---- the exact set of bars ---------------------------------------------------------------------


@pytest.mark.parametrize("slug", VENUES)
@pytest.mark.parametrize("bars", [2, 3, 1_000])
def test_every_bar_is_there_once_and_idle_ones_are_flat(market, slug, bars):
    """D19: five venues, idle intervals inside a page, at its beginning, at its end, and filling one."""
    symbol = btc(slug)
    before = market.klines_asked
    planned = cut(backfill.plan(slug, [symbol], [FIVE], market.open_ms - 4 * BUCKET_MS, market.end_ms), bars)
    end_ms = planned.series[0].to_ms
    work = done(planned)
    found = stored(symbol)
    assert list(found) == list(range(market.open_ms - 4 * BUCKET_MS, end_ms, BUCKET_MS))
    assert (work.bars, work.calls, market.klines_asked - before) == (len(found), planned.calls, planned.calls)
    idle = range(market.open_ms + TRADED * BUCKET_MS, market.open_ms + (TRADED + IDLE) * BUCKET_MS, BUCKET_MS)
    last = found[idle[0] - BUCKET_MS].close
    for open_ms, row in found.items():
        if open_ms in idle:
            assert ({getattr(row, name) for name in PRICES}, row.volume, row.quality) == ({last}, 0, "empty")
        elif open_ms >= market.open_ms:
            truth = market.sim.call(market.sim.simulation.truth, slug, symbol.native, open_ms)
            assert [getattr(row, n) for n in PRICES] == [getattr(truth, n) for n in PRICES]
            assert (row.volume, row.quality) == (truth.volume, "proven")


@pytest.mark.parametrize("slug", VENUES)
def test_every_timeframe_in_as_many_requests_as_planned_and_then_in_none(market, slug):
    symbol = btc(slug)
    before = market.klines_asked
    planned = market.plan(slug, [symbol], list(Timeframe))
    work = done(planned)
    assert market.klines_asked - before == work.calls == planned.calls
    for series in planned.series:
        opens = list(stored(symbol, series.timeframe))
        assert opens == list(range(opens[0], series.to_ms, series.timeframe.ms))
        assert len(opens) == (series.to_ms - series.from_ms) // series.timeframe.ms or series.timeframe is Timeframe.D1
        newest = window.newest(slug, symbol.name, series.timeframe, window.KEPT)
        assert [candle.open_ms for candle in newest] == opens[-window.KEPT :]
    assert market.plan(slug, [symbol], list(Timeframe)).calls == 0


def test_only_holes_are_fetched_and_what_is_there_is_not_written_again(market):
    symbol = btc("coinbase")
    done(market.plan("coinbase", [symbol], [FIVE]))
    holes = [market.end_ms - n * BUCKET_MS for n in (3, 4, 7, 40, 600)]
    CandleRow.objects.filter(open_ms__in=holes).delete()
    CandleRow.objects.update(recorded_ms=1)
    planned = market.plan("coinbase", [symbol], [FIVE])
    assert (planned.missing, planned.calls) == (5, 2)
    assert done(planned).bars == 5
    written = CandleRow.objects.exclude(recorded_ms=1).order_by("-open_ms")
    assert list(written.values_list("open_ms", flat=True)) == holes


def test_the_time_before_a_market_was_listed_is_asked_for_once(market):
    symbol = btc("binance_us")
    long_ago = now_ms() - 600 * Timeframe.D1.ms
    work = done(backfill.plan("binance_us", [symbol], [Timeframe.H4], long_ago, market.end_ms))
    assert 0 < work.bars < work.plan.missing  # the simulators know 500 days
    assert backfill.plan("binance_us", [symbol], [Timeframe.H4], long_ago, market.end_ms).calls == 0
    assert backfill.plan("binance_us", [symbol], [Timeframe.H4], long_ago - Timeframe.D1.ms, market.end_ms).calls > 0


@pytest.mark.parametrize("slug", ["binance", "coinbase"])
def test_what_still_forms_or_is_not_settled_is_never_stored(market, slug):
    """At the clock's own edge, by a venue that fills idle intervals and by one that omits them."""
    symbol = btc(slug)
    done(backfill.plan(slug, [symbol], list(Timeframe), now_ms() - 3 * Timeframe.D1.ms))
    for timeframe in Timeframe:
        newest = max(stored(symbol, timeframe))
        assert newest + timeframe.ms + SETTLED_MS <= now_ms() < newest + 2 * timeframe.ms + 2 * BUCKET_MS


def test_an_interval_of_the_past_is_not_exceeded(market):
    symbol = btc("kucoin")
    from_ms, to_ms = past(500), past(100)
    done(backfill.plan("kucoin", [symbol], [FIVE], from_ms, to_ms))
    assert list(stored(symbol)) == list(range(from_ms, to_ms, BUCKET_MS))


# ---- joints ------------------------------------------------------------------------------------


def ours(symbol: ExchangeSymbol, row: CandleRow, **changed: Any) -> None:
    """As if we had folded this bar ourselves."""
    candle: Candle = row.value(symbol.exchange_id, symbol.name)
    record([Closed(replace(candle, source=Source.TRADES, quality=Quality.CLEAN, **changed), 9)])


def test_where_the_venues_bars_meet_ours_they_are_compared_field_by_field(market, caplog):
    symbol, hour = btc("binance"), Timeframe.H1
    done(market.plan("binance", [symbol], [hour]))
    rows = list(stored(symbol, hour).values())
    CandleRow.objects.all().delete()
    ours(symbol, rows[-1])
    ours(symbol, rows[-5], volume=rows[-5].volume + 1, high=rows[-5].high + 1)
    with caplog.at_level(logging.WARNING):
        work = done(market.plan("binance", [symbol], [hour]))
    assert (work.joints, work.differing) == (2, 1)
    (line,) = [r for r in caplog.records if r.message == "backfill.joint_differs"]
    assert line.fields["open"] == rows[-5].open_ms
    assert [said.partition(":")[0] for said in line.fields["fields"].split()] == ["high", "volume"]
    assert stored(symbol, hour)[rows[-5].open_ms].source == "trades"


# ---- trouble -----------------------------------------------------------------------------------


def test_the_budgets_turn_is_waited_for(market, monkeypatch):
    symbol = btc("coinbase")
    Exchange.objects.filter(pk="coinbase").update(rest_weight=10, rest_window_s=1)
    refused = []
    spend = ratelimit.SharedBudget.spend

    def counted(budget: ratelimit.SharedBudget, weight: int) -> None:
        try:
            spend(budget, weight)
        except ratelimit.RateLimited:
            refused.append(weight)
            raise

    monkeypatch.setattr(ratelimit.SharedBudget, "spend", counted)
    work = done(cut(market.plan("coinbase", [symbol], [FIVE], 12), 1))
    assert (work.calls, work.bars) == (12, 12)
    assert refused


def test_passing_trouble_is_tried_again(market, monkeypatch):
    monkeypatch.setattr(backfill, "RETRY_S", (0, 0))
    symbol = btc("mexc")
    market.sim.fault("mexc", "rest_status", status=503, count=2)
    work = done(market.plan("mexc", [symbol], [FIVE], 20))
    assert (work.calls, work.bars) == (1, 20)


def test_a_series_that_is_not_served_does_not_end_the_others(market):
    symbol = btc("binance")
    gone = ExchangeSymbol(exchange_id="binance", native="GONEUSDT", base="GONE", quote="USDT")
    gone.save()
    work = done(market.plan("binance", [gone, symbol], [FIVE], 20))
    assert work.bars == 20
    assert [text.split(":")[0] for text in work.refused] == ["GONE-USDT 5m"]


def test_a_venue_that_may_not_be_contacted_is_not(market, settings):
    symbol = btc("binance")
    planned = market.plan("binance", [symbol], [FIVE])
    settings.EXCHANGE_ENDPOINTS, settings.LIVERMORE_REGION = {}, "US-CA"
    with pytest.raises(GeoBlocked):
        Backfill(planned).run()


def test_what_is_left_is_told_at_any_time(market):
    symbol = btc("binance")
    planned = market.plan("binance", [symbol], list(Timeframe))
    work = Backfill(planned)
    assert 0 < work.left_s() < 60
    work.run()
    assert work.left_s() == 0
    assert work.calls_per_s() > 0
    taken_s = backfill.expected_s(planned)  # by experience, now
    assert taken_s == pytest.approx(planned.calls * work.busy_s / work.calls, rel=0.05)
    assert {(s.symbol, str(s.timeframe)) for s in planned.series} == {(n, t) for _, n, t in work.changed}
