"""Klines at their edges, the same law for every venue: bounds, borders of pages, idle intervals, the forming one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from exchanges import registry
from exchanges.simulation.stage import Options
from exchanges.simulator import load
from exchanges.venue import Endpoint, Rest
from livermore.core.candle import BUCKET_MS, Kline, Timeframe
from tests.support.budgets import OpenBudget
from tests.support.simulation import Running, simulated

START_MS = 1_790_000_100_000  # aligned to five minutes
TRADED, IDLE, AFTER = 3, 4, 2
PAGES = {"binance": 1000, "binance_us": 1000, "coinbase": 350, "kucoin": 1500, "mexc": 500}

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the vendors' SDKs


@dataclass
class Market:
    """BTC at one venue: traded, then idle, then traded again, then half an interval that is still forming."""

    sim: Running
    slug: str
    native: str
    rest: Rest

    def opens(self, first: int, beyond: int) -> list[int]:
        return [START_MS + n * BUCKET_MS for n in range(first, beyond)]

    def klines(self, start_ms: int, end_ms: int) -> Sequence[Kline]:
        return self.rest.klines(self.native, Timeframe.M5, start_ms, end_ms)


@pytest.fixture(scope="module", params=sorted(PAGES))
def market(request: pytest.FixtureRequest) -> Iterator[Market]:
    slug = request.param
    native = next(x.native for x in load(slug).listings if x.base == "BTC")
    unlimited = Options(weight_limit=1_000_000)
    with simulated(slug, is_paused=True, start_ms=START_MS, has_episodes=False, options=unlimited) as sim:
        length_s = BUCKET_MS / 1000
        sim.call(sim.simulation.advance, TRADED * length_s)
        sim.call(sim.simulation.market.silence, slug, "BTC", IDLE * length_s)
        sim.call(sim.simulation.advance, (IDLE + AFTER + 0.5) * length_s)
        rest = registry.venue(slug).rest(Endpoint(**sim.endpoints[slug]), OpenBudget())
        yield Market(sim, slug, native, rest)


def test_every_venue_is_held_to_it() -> None:
    assert set(PAGES) == set(registry.slugs())


def test_the_first_bound_is_inside_and_the_last_is_not(market: Market) -> None:
    """D19: the forming interval is not among those before its open."""
    forming_ms = START_MS + (TRADED + IDLE + AFTER) * BUCKET_MS
    for start_ms, end_ms in ((START_MS, START_MS + 3 * BUCKET_MS), (forming_ms - 2 * BUCKET_MS, forming_ms)):
        expected = list(range(start_ms, end_ms, BUCKET_MS))
        assert [k.open_ms for k in market.klines(start_ms, end_ms)] == expected
        assert [k.open_ms for k in market.klines(start_ms + 1, end_ms)] == expected[1:]
        assert [k.open_ms for k in market.klines(start_ms, end_ms - 1)] == expected
        assert [k.open_ms for k in market.klines(start_ms, end_ms - BUCKET_MS)] == expected[:-1]
    assert [k.open_ms for k in market.klines(forming_ms, forming_ms + BUCKET_MS)] == [forming_ms]
    assert market.klines(START_MS, START_MS) == []
    assert market.klines(forming_ms + BUCKET_MS, forming_ms + 2 * BUCKET_MS) == []


def test_idle_intervals_are_flat_or_absent_and_the_others_are_the_trades(market: Market) -> None:
    """D19: the exact set of bars, to the last digit."""
    end = TRADED + IDLE + AFTER
    found = {k.open_ms: k for k in market.klines(START_MS, START_MS + end * BUCKET_MS)}
    idle = market.opens(TRADED, TRADED + IDLE)
    for open_ms in set(market.opens(0, end)) - set(idle):
        truth = market.sim.call(market.sim.simulation.truth, market.slug, market.native, open_ms)
        kline = found[open_ms]
        assert (kline.open, kline.high, kline.low, kline.close) == (truth.open, truth.high, truth.low, truth.close)
        assert kline.volume == truth.volume > 0
    for open_ms in found.keys() & set(idle):
        kline = found[open_ms]
        assert kline.volume == 0
        assert {kline.open, kline.high, kline.low, kline.close} == {found[START_MS + (TRADED - 1) * BUCKET_MS].close}
    present = len(found.keys() & set(idle))
    assert present in (0, IDLE), "one way or the other, not both"


def test_an_idle_stretch_alone_is_no_error(market: Market) -> None:
    """D19: an answer without rows ends nothing but this request."""
    found = market.klines(START_MS + TRADED * BUCKET_MS, START_MS + (TRADED + IDLE) * BUCKET_MS)
    assert all(k.volume == 0 for k in found)


@pytest.mark.parametrize("timeframe", Timeframe)
def test_a_page_as_the_venue_promises_it_is_one_request(market: Market, timeframe: Timeframe) -> None:
    """O23: so that a plan counts requests before any is made."""
    venue, budget = registry.venue(market.slug), OpenBudget()
    rest = venue.rest(Endpoint(**market.sim.endpoints[market.slug]), budget)
    end_ms = START_MS - START_MS % timeframe.ms
    length = min(venue.kline_page.most(timeframe), 400 * Timeframe.D1.ms // timeframe.ms)
    found = rest.klines(market.native, timeframe, end_ms - length * timeframe.ms, end_ms)
    assert (len(found), budget.spent) == (length, [venue.kline_page.weight])


def test_borders_of_pages_double_and_lose_nothing(market: Market) -> None:
    """D19: two pages and a bit, against the same intervals asked for in pieces that fit."""
    page = PAGES[market.slug]
    first, beyond = START_MS - (2 * page + 3) * BUCKET_MS, START_MS + TRADED * BUCKET_MS
    whole = list(market.klines(first, beyond))
    opens = [k.open_ms for k in whole]
    assert opens == sorted(set(opens))
    assert len(opens) > 2 * page
    step = 200 * BUCKET_MS + 1
    pieces = [k for at in range(first, beyond, step) for k in market.klines(at, min(at + step, beyond))]
    assert whole == pieces
