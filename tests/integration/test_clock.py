"""D12 from the socket to the screen: a venue three seconds ahead, and one whose clock cannot be known well."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from django.core.management import call_command

from candles.services import arrivals, ingest, section
from candles.services.section import Sections
from candles.signals import guards
from exchanges import geo, observed, registry, wire
from exchanges.host import Host
from exchanges.models import Exchange
from exchanges.report import lag_ms
from exchanges.running import Plan, Wiring
from exchanges.stream import Stream
from exchanges.venue import Endpoint, Limits
from livermore.core.frame import FrameBatch
from tests.support import builders
from tests.support.budgets import OpenBudget
from tests.support.http_server import Answer, Asked, http_server
from tests.support.simulation import simulated
from tests.support.waiting import until

pytestmark = pytest.mark.django_db

AHEAD, VAGUE = "binance", "binance_us"
AHEAD_S = 3.0
LIMITS = Limits(topics_per_connection=10, messages_per_second=5.0, connection_lifetime_s=None)
NAMES = {AHEAD: {"BTCUSDT": "BTC-USDT"}, VAGUE: {"BTCUSD": "BTC-USD"}}


@contextmanager
def hosted(endpoints: dict[str, Endpoint], batches: list[FrameBatch]) -> Iterator[None]:
    """A host that streams these venues; what it publishes is appended to `batches`."""

    def stream(plan: Plan, wanted: Any, epoch: int) -> Stream:
        venue = registry.venue(plan.slug)
        return Stream(
            venue, venue.rest(plan.endpoint, OpenBudget()), plan.limits, list(wanted), names=wanted,
            connects=OpenBudget(), epoch=epoch, publish=batches.append, report=lambda gap: None,
        )  # fmt: skip

    plans = {
        slug: Plan(slug, slug.title(), True, endpoint, True, LIMITS, geo.GeoRule(slug, slug.title()))
        for slug, endpoint in endpoints.items()
    }
    wiring = Wiring(
        plans=lambda: plans, universe=lambda slug: NAMES[slug], sync=lambda plan: None, stream=stream,
        started=lambda slug, names: None, locate=lambda: geo.Location("DE", None, "test"),
    )  # fmt: skip
    host = Host(wiring, "h1", autostart=list(plans))
    thread = threading.Thread(target=host.run)
    thread.start()
    try:
        yield
    finally:
        host.stop()
        thread.join(20)


def told(slug: str, field: str) -> float | None:
    text = observed.stream_state(slug).get(field)
    return float(text) if text else None


def slow_time(asked: Asked) -> Answer:
    """Right, and so long under way that nobody can tell."""
    return Answer({"serverTime": time.time_ns() // 1_000_000}, delay_s=0.55)


def test_a_clock_that_is_wrong_is_shown_is_no_lag_and_one_that_is_vague_is_refused(
    redis_state: redis.Redis, capsys: pytest.CaptureFixture[str], client: Any, admin_user: Any
) -> None:
    for memory in (ingest._books, ingest._previews, arrivals._newest, arrivals._epochs):
        memory.clear()
    section._listings.cache_clear()
    for slug, names in NAMES.items():
        for native, name in names.items():
            builders.symbol(Exchange.objects.get(pk=slug), name, native=native, rank=1, tier=1)
    batches: list[FrameBatch] = []
    with simulated(AHEAD, VAGUE, pace=5) as sim, http_server(slow_time) as slow:
        sim.call(sim.simulation.market.skew, AHEAD, AHEAD_S)
        endpoints = {slug: Endpoint(**sim.endpoints[slug]) for slug in NAMES}
        endpoints[VAGUE] = Endpoint(slow.url, endpoints[VAGUE].ws)
        with hosted(endpoints, batches):

            def is_complete() -> bool:
                while batches:
                    ingest.ingest(wire.pack(batches.pop(0)))
                fields = [(slug, field) for slug in NAMES for field in ("lag_ms", "clock_offset_ms")]
                return all(told(*one) is not None for one in fields)

            until(is_complete, within_s=30)
            # The first lag may have been measured before the clock was.
            until(lambda: is_complete() and (told(AHEAD, "lag_ms") or 0) > -1_000)
            _is_measured_well()
            _is_shown(capsys, client, admin_user)
            _is_refused()


def _is_measured_well() -> None:
    assert told(AHEAD, "clock_offset_ms") == pytest.approx(3_000, abs=100)
    assert abs(told(VAGUE, "clock_offset_ms") or 0) <= (told(VAGUE, "clock_uncertainty_ms") or 0)
    for slug in NAMES:
        lag = told(slug, "lag_ms")
        assert lag is not None
        assert -100 < lag < 2_000, slug
    uncorrected = lag_ms(AHEAD, NAMES[AHEAD].values())
    assert uncorrected is not None
    assert uncorrected < -1_000


def _is_shown(capsys: pytest.CaptureFixture[str], client: Any, admin_user: Any) -> None:
    offset, uncertainty = told(AHEAD, "clock_offset_ms"), told(AHEAD, "clock_uncertainty_ms")
    call_command("exchange_status", AHEAD, "--json")
    (one,) = json.loads(capsys.readouterr().out)
    assert (one["clock_offset_ms"], one["clock_uncertainty_ms"]) == (offset, uncertainty)
    call_command("exchange_status", AHEAD)
    table = capsys.readouterr().out
    assert f"{offset:+.1f} ±{uncertainty:.1f}, " in table
    client.force_login(admin_user)
    said = client.get(f"/api/v1/exchanges/{AHEAD}").json()
    assert (said["clock_offset_ms"], said["clock_uncertainty_ms"]) == (offset, uncertainty)
    assert 0 <= said["now_ms"] - said["clock_measured_ms"] < 30_000
    card = client.get(f"/exchanges/{AHEAD}/").content.decode()
    assert f'<span data-f="clock_offset_ms">{offset:.0f}</span> ±' in card
    assert f'data-f="clock_measured_ms" data-at="{said["clock_measured_ms"]}"' in card


def _is_refused() -> None:
    sections = Sections(time.time_ns() // 1_000_000)
    markets = {market.leg.exchange: market for market in sections.of("BTC").markets}
    assert markets[AHEAD].clock.offset_ms == pytest.approx(3_000, abs=100)
    assert not guards.is_clock_uncertain(markets[AHEAD])
    assert (markets[VAGUE].clock.uncertainty_ms or 0) > guards.CLOCK_LIMIT_MS
    assert guards.is_clock_uncertain(markets[VAGUE])
