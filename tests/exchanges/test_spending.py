"""The gauge of a budget shows what the venue itself has counted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from exchanges import services
from exchanges.models import Exchange
from livermore.core.candle import Timeframe
from tests.support.simulation import Running, simulated

pytestmark = pytest.mark.django_db
SLUG = "binance"
ENOUGH_LEFT_S = 10


@pytest.fixture
def venue(settings: Any) -> Iterator[Running]:
    with simulated(SLUG) as running:
        settings.EXCHANGE_ENDPOINTS = running.endpoints
        Exchange.objects.filter(pk=SLUG).update(enabled=True)
        yield running


def test_the_gauge_equals_the_weight_that_the_venue_counted(venue: Running, redis_state: redis.Redis) -> None:
    row = Exchange.objects.get(pk=SLUG)
    left_s = row.rest_window_s - time.time() % row.rest_window_s
    if left_s < ENOUGH_LEFT_S:  # both count from the window's begin, and calls must not straddle two
        time.sleep(left_s)
    rest = services.rest(SLUG, share=1)
    listed = rest.instruments()
    now_ms = int(time.time() * 1000) // Timeframe.M5.ms * Timeframe.M5.ms
    for instrument in listed[:20]:
        rest.klines(instrument.native, Timeframe.M5, now_ms - 100 * Timeframe.M5.ms, now_ms)
    counted = venue.simulation.servers[SLUG].venue._rest._budget.used  # type: ignore[attr-defined]
    spent, connects = services.spending(row)
    assert counted > 20
    assert spent.spent == pytest.approx(counted, rel=0.02)
    assert spent.allowed <= row.rest_weight
    assert spent.from_ms % (row.rest_window_s * 1000) == 0
    assert (connects.kind, connects.spent) == ("connects", 0)


def test_what_the_venue_says_is_told_beside_our_own_count(redis_state: redis.Redis) -> None:
    row = Exchange.objects.get(pk=SLUG)
    assert services.spending(row)[0].told is None
    services.budget(SLUG).told(7)
    said = services.spending(row)[0]
    assert said.told == 7
    assert abs(time.time() * 1000 - (said.told_ms or 0)) < 60_000


def test_a_closed_budget_says_until_when(redis_state: redis.Redis) -> None:
    row, until_ms = Exchange.objects.get(pk=SLUG), int(time.time() * 1000) + 60_000
    assert services.spending(row)[0].closed_until_ms is None
    services.budget(SLUG).close(until_ms)
    assert services.spending(row)[0].closed_until_ms == until_ms
