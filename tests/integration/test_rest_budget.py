"""The budget against a venue that enforces its limit: history is loaded as fast as allowed and never refused."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from aiohttp import web

from exchanges import services
from exchanges.models import Exchange
from exchanges.seeds import create_missing
from exchanges.venue import Instrument
from livermore.core.candle import Timeframe
from livermore.core.errors import RateLimited
from tests.support.simulation import Running, simulated

SYMBOLS = 5
BARS = 300
IO_THREADS = 4


@pytest.fixture
def venue(settings: Any) -> Iterator[Running]:
    with simulated("coinbase") as running:
        settings.EXCHANGE_ENDPOINTS = running.endpoints
        yield running


def answers(running: Running, slug: str) -> Counter[int]:
    """Counts the venue's REST answers by status from now on."""
    counted: Counter[int] = Counter()
    simulator = running.simulation.servers[slug].venue
    honest = simulator.answer

    def answer(request: web.Request) -> web.Response:
        said = honest(request)
        counted[said.status] += 1
        return said

    simulator.answer = answer  # type: ignore[method-assign]
    return counted


def load(slug: str, instrument: Instrument) -> None:
    """What one task of `candles.load_history` asks, tried again as its task would be."""
    rest = services.rest(slug)
    for timeframe in Timeframe:
        end_ms = int(time.time() * 1000) // timeframe.ms * timeframe.ms
        while True:
            try:
                rest.klines(instrument.native, timeframe, end_ms - BARS * timeframe.ms, end_ms)
                break
            except RateLimited as error:
                time.sleep(max(0.0, error.until_ms / 1000 - time.time()))


@pytest.mark.django_db(transaction=True)
def test_history_at_ten_requests_a_second_is_never_refused(venue: Running, redis_state: redis.Redis) -> None:
    create_missing(Exchange)  # another test without a transaction may have emptied the tables
    listed = services.rest("coinbase").instruments()[:SYMBOLS]
    counted = answers(venue, "coinbase")
    begun_s = time.monotonic()
    with ThreadPoolExecutor(IO_THREADS) as pool:
        list(pool.map(lambda instrument: load("coinbase", instrument), listed))
    took_s = time.monotonic() - begun_s
    calls = SYMBOLS * len(Timeframe)
    assert counted == {200: calls}
    assert took_s < calls / 9 + 3
