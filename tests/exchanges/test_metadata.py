"""What venues say of themselves against our rows: found in one run, shown with both values, settled with one click."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

import exchanges.services
from exchanges import metadata, observed, registry
from exchanges.control import Verb
from exchanges.metadata import BUDGET, GEO, SILENCE, differing
from exchanges.models import Drift, Exchange
from exchanges.running import Plan
from exchanges.simulation.stage import Options
from exchanges.tasks import check_metadata
from exchanges.venue import StatedLimits, StatesLimits
from livermore.core.errors import InvalidInput
from symbols.models import ExchangeSymbol
from tests.exchanges.test_host import LOCAL, World, state, tell, world  # noqa: F401 - a fixture
from tests.support.simulation import Running, simulated
from tests.support.waiting import until

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # the vendor libraries' imports
]
STATING = ("binance", "binance_us", "coinbase", "kucoin")


@pytest.fixture(scope="module")
def venues() -> Iterator[Running]:
    """All venues, their market standing still."""
    with simulated(is_paused=True, has_episodes=False) as running:
        yield running


@pytest.fixture
def market(venues: Running, settings: Any, redis_state: redis.Redis) -> Iterator[Running]:
    """The rows as delivered, of which nothing differs but the age of their geo rules; limits as documented."""
    settings.EXCHANGE_ENDPOINTS = venues.endpoints
    Exchange.objects.update(geo_verified_at=timezone.localdate())
    yield venues
    for server in venues.simulation.servers.values():
        server.stage.options = Options()
        server.stage.delisted.clear()


def found(what: str, slug: str = "binance") -> list[tuple[str, str, str]]:
    rows = Drift.objects.filter(exchange_id=slug, what=what)
    return [(row.ours, row.theirs, row.decision) for row in rows]


# ---- what is stated -------------------------------------------------------------------------------


def test_delivered_rows_say_what_the_venues_state(market: Running) -> None:
    for slug in registry.slugs():
        rest = exchanges.services.rest(slug, share=1)
        assert isinstance(rest, StatesLimits) == (slug in STATING)
        check_metadata(slug)
    assert not Drift.objects.exists()


def test_a_changed_limit_and_a_delisted_symbol_are_noticed_in_one_run_with_both_values(market: Running) -> None:
    check_metadata("binance")
    ExchangeSymbol.objects.filter(exchange_id="binance", name="ETH-USDT").update(tier=1, tick="0.05")
    market.call(market.simulation.restrict, "binance", 1200)
    market.call(market.simulation.delist, "binance", "SOL")
    check_metadata("binance")
    assert found(BUDGET) == [("6000 per 60 s", "1200 per 60 s", "")]
    assert found("SOL-USDT listing") == [("TRADING", "not listed", "synced")]
    assert found("ETH-USDT tick") == [("0.05", "0.01", "synced")]
    check_metadata("binance")
    assert len(found(BUDGET)) == len(found("SOL-USDT listing")) == 1


@pytest.mark.parametrize(
    ("slug", "ours", "theirs"),
    [
        ("binance_us", "1200 per 60 s", "77 per 60 s"),
        ("coinbase", "10 per 1 s", "77 per 1 s"),
        ("kucoin", "2000 per 30 s", "77 per 30 s"),
    ],
)
def test_each_venue_that_states_its_limits_is_heard(market: Running, slug: str, ours: str, theirs: str) -> None:
    market.call(market.simulation.restrict, slug, 77)
    metadata.check_limits(Exchange.objects.get(pk=slug), exchanges.services.rest(slug, share=1))
    assert found(BUDGET, slug) == [(ours, theirs, "")]


def test_a_connection_must_not_be_called_dead_before_the_venue_calls_it_so(market: Running) -> None:
    row = Exchange.objects.get(pk="kucoin")
    row.silence_s = 20
    row.save()
    (drift,) = metadata.check_limits(row, exchanges.services.rest("kucoin", share=1))
    assert (drift.what, drift.ours, drift.theirs) == (SILENCE, "20 s", "no less than 28 s")
    metadata.accept(drift.pk, "ann")
    assert Exchange.objects.get(pk="kucoin").silence_s == 28
    assert differing(Exchange(rest_weight=5, rest_window_s=1, silence_s=60), StatedLimits(silence_s=28)) == []


def test_a_scenario_may_change_a_limit() -> None:
    script = [{"at_s": 5, "venue": "binance", "restrict": {"weight": 500}}]
    with simulated("binance", is_paused=True, scenario=script) as running:
        running.call(running.simulation.advance, 6)
        assert running.simulation.servers["binance"].stage.options.weight_limit == 500


# ---- how long it stands ---------------------------------------------------------------------------


def test_what_is_the_same_again_is_settled_by_itself(market: Running) -> None:
    market.call(market.simulation.restrict, "binance", 1200)
    check_metadata("binance")
    market.call(market.simulation.restrict, "binance", 6000)
    check_metadata("binance")
    assert found(BUDGET) == [("6000 per 60 s", "1200 per 60 s", "gone")]


def test_ours_is_kept_until_theirs_is_another_or_a_month_has_passed(market: Running) -> None:
    market.call(market.simulation.restrict, "binance", 1200)
    check_metadata("binance")
    metadata.keep(Drift.objects.get(what=BUDGET).pk, "ann")
    check_metadata("binance")
    assert [decision for *_, decision in found(BUDGET)] == ["kept"]
    Drift.objects.update(settled_at=timezone.now() - metadata.KEPT_FOR)
    check_metadata("binance")
    assert [decision for *_, decision in found(BUDGET)] == ["", "kept"]
    market.call(market.simulation.restrict, "binance", 900)
    check_metadata("binance")
    assert found(BUDGET)[0] == ("6000 per 60 s", "900 per 60 s", "")


def test_geo_rules_older_than_a_month_are_pointed_out_without_asking_anybody(redis_state: redis.Redis) -> None:
    today = timezone.localdate()
    Exchange.objects.update(geo_verified_at=today - timedelta(days=30))
    Exchange.objects.filter(pk="mexc").update(
        geo_verified_at=today - timedelta(days=31), geo_source_url="https://x.example"
    )
    Exchange.objects.filter(pk="kucoin").update(geo_verified_at=None)
    check_metadata()
    said = f"compared on {today - timedelta(days=31)}"
    assert found(GEO, "mexc") == [(said, "to be compared with https://x.example every 30 days", "")]
    assert [ours for ours, *_ in found(GEO, "kucoin")] == ["never compared"]
    assert Drift.objects.count() == 2
    metadata.accept(Drift.objects.get(exchange_id="mexc").pk, "ann")
    assert Exchange.objects.get(pk="mexc").geo_verified_at == today
    check_metadata()
    assert Drift.objects.filter(settled_at=None).count() == 1


# ---- the operator's desk --------------------------------------------------------------------------


@pytest.fixture
def drift() -> Drift:
    """A venue allows less than the row says."""
    stated = StatedLimits(rest_weight=1200, rest_window_s=10)
    row = Exchange.objects.get(pk="binance")
    (open_now,) = metadata.note(row, differing(row, stated), {BUDGET})
    return open_now


def press(client: Client, label: str) -> Any:
    """The first button of that name on the list, as a browser presses it."""
    text = client.get(reverse("admin:exchanges_drift_changelist")).content.decode()
    address = re.search(rf'formaction="([^"]+)">{label}<', text)
    assert address is not None
    return client.post(address[1], follow=True)


def test_one_click_writes_theirs_into_the_row_and_says_who_did(
    admin_client: Client, drift: Drift, redis_state: redis.Redis
) -> None:
    before = Exchange.objects.get(pk="binance")
    shown = html.unescape(press(admin_client, "Accept theirs").content.decode())
    assert "ours was 6000 per 60 s, theirs 1200 per 10 s" in shown
    row = Exchange.objects.get(pk="binance")
    assert (row.rest_weight, row.rest_window_s, row.limits_verified_at) == (1200, 10, timezone.localdate())
    assert row.config_version > before.config_version
    drift.refresh_from_db()
    assert (drift.decision, drift.settled_by) == ("accepted", "admin")
    logged = LogEntry.objects.get(object_id="binance")
    assert logged.user.get_username() == "admin"
    assert "6000 per 60 s, theirs 1200 per 10 s" in logged.change_message
    assert "Accept theirs</button>" not in shown


def test_the_exchange_shows_what_waits_and_the_list_what_is_open(
    admin_client: Client, drift: Drift, redis_state: redis.Redis
) -> None:
    shown = admin_client.get(reverse("admin:exchanges_exchange_change", args=("binance",))).content.decode()
    assert "REST budget: ours 6000 per 60 s, theirs 1200 per 10 s" in shown
    listed = reverse("admin:exchanges_drift_changelist")
    assert f"{listed}?state=open" in shown
    assert admin_client.get(listed, {"state": "open"}).context["cl"].result_count == 1
    assert admin_client.get(listed, {"state": "settled"}).context["cl"].result_count == 0


def test_one_click_keeps_ours(admin_client: Client, drift: Drift) -> None:
    press(admin_client, "Keep ours")
    assert Exchange.objects.get(pk="binance").rest_weight == 6000
    drift.refresh_from_db()
    assert drift.decision == "kept"
    assert LogEntry.objects.filter(object_id="binance", change_message__contains="kept").exists()
    with pytest.raises(InvalidInput, match="was kept by admin already"):
        metadata.accept(drift.pk, "ann")


def test_several_are_settled_at_once(admin_client: Client, drift: Drift) -> None:
    chosen = {"action": "accept_theirs", "_selected_action": [drift.pk]}
    admin_client.post(reverse("admin:exchanges_drift_changelist"), chosen)
    assert Exchange.objects.get(pk="binance").rest_weight == 1200


def test_what_the_row_refuses_is_said_and_stays_open(admin_client: Client, drift: Drift) -> None:
    Drift.objects.update(changes={"rest_weight": 0})
    shown = press(admin_client, "Accept theirs").content.decode()
    assert "Binance cannot take it: must be between 1 and" in shown
    assert Exchange.objects.get(pk="binance").rest_weight == 6000
    assert Drift.objects.get().settled_at is None


def test_only_who_may_change_the_row_may_settle(client: Client, drift: Drift) -> None:
    address = reverse("admin:exchanges_drift_accept", args=(drift.pk,))
    assert client.post(address).status_code == 302
    ann = User.objects.create_user("ann", is_staff=True)
    ann.user_permissions.set(Permission.objects.filter(codename__in=("view_drift", "change_drift")))
    client.force_login(ann)
    assert client.post(address).status_code == 403
    assert client.get(address).status_code == 405
    assert Exchange.objects.get(pk="binance").rest_weight == 6000


@pytest.mark.usefixtures("redis_state")
def test_a_running_host_reports_the_accepted_configuration(world: World, drift: Drift) -> None:  # noqa: F811
    before = Plan.of(drift.exchange)
    world.plans = {"binance": replace(before, endpoint=LOCAL)}
    world.universe = {"binance": {"BTCUSDT": "BTC-USDT"}}
    world.launch()
    assert tell(Verb.START, "binance").code == "ok"
    until(lambda: observed.stream_state("binance")["config_version"] == str(before.config_version))
    after = Plan.of(metadata.accept(drift.pk, "ann").exchange)
    assert after.config_version > before.config_version
    world.plans = {"binance": replace(after, endpoint=LOCAL)}  # what the next look at the table gives
    until(lambda: observed.stream_state("binance")["config_version"] == str(after.config_version))
    assert state("binance") == "streaming"
    assert len(world.streams) == 1
