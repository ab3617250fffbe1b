"""What the stream host measured of a venue's clock decides what signals make of that venue's times."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import redis

from candles.services import section
from candles.services.section import Sections
from candles.signals.guards import CLOCK_LIMIT_MS
from candles.signals.section import Clock
from exchanges.clock import KNOWN_FOR_MS
from livermore.core import keys
from tests.candles.market import START_MS
from tests.candles.test_signals_service import FOLLOWER, LEADER, list_markets, lives, play, published, suppressed

pytestmark = pytest.mark.django_db

AHEAD_MS = 3_000
AHEAD = replace(LEADER, clock_error_ms=AHEAD_MS)


@pytest.fixture(autouse=True)
def _listed(redis_state: redis.Redis) -> None:
    section._listings.cache_clear()
    list_markets()


def measured(client: redis.Redis, exchange: str, offset: float, uncertainty: float, at_ms: int = START_MS) -> None:
    told: dict[str, Any] = {"clock_offset_ms": offset, "clock_uncertainty_ms": uncertainty, "clock_measured_ms": at_ms}
    client.hset(keys.stream(exchange), mapping=told)


def test_a_clock_that_is_known_to_be_wrong_costs_no_signal(redis_state: redis.Redis) -> None:
    measured(redis_state, "coinbase", 3_000.4, 15.2)
    measured(redis_state, "binance_us", -0.4, 20.0)
    play(redis_state, AHEAD, FOLLOWER, to_s=40)
    events = published(redis_state)
    assert len(lives(events)) == 3  # one a window, as with clocks that are right
    assert {event["quality"]["clock_uncertainty_ms"] for event in events} == {16 + 20}
    assert "clock_uncertain" not in suppressed(redis_state)


def test_one_that_is_wrong_and_not_measured_is_refused(redis_state: redis.Redis) -> None:
    play(redis_state, AHEAD, FOLLOWER, from_s=18, to_s=28)
    assert published(redis_state) == []
    assert suppressed(redis_state)["clock_uncertain"] > 0


def test_one_that_is_known_too_badly_is_refused(redis_state: redis.Redis) -> None:
    measured(redis_state, "binance_us", 0.0, CLOCK_LIMIT_MS + 0.1)
    play(redis_state, LEADER, FOLLOWER, from_s=18, to_s=28)
    assert published(redis_state) == []
    assert suppressed(redis_state)["clock_uncertain"] > 0


def test_an_estimate_counts_for_ten_minutes(redis_state: redis.Redis) -> None:
    measured(redis_state, "coinbase", 3_000.4, 15.2, START_MS)
    assert Sections(START_MS + KNOWN_FOR_MS)._clock("coinbase") == Clock(AHEAD_MS, 16)
    assert Sections(START_MS + KNOWN_FOR_MS + 1)._clock("coinbase") == Clock()
    assert Sections(START_MS)._clock("binance_us") == Clock(), "nobody speaks of it"
    for field in ("clock_offset_ms", "clock_uncertainty_ms", "clock_measured_ms"):
        redis_state.hset(keys.stream("kucoin"), field, "")
    assert Sections(START_MS)._clock("kucoin") == Clock(), "its host does not know"
