"""The stream hosts and the health of all exchanges, as pages and API; a host that was killed is lost."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from django.core.cache import cache
from django.test import Client

from exchanges import lease, observed
from exchanges.models import Exchange
from livermore.core import keys
from livermore.watch import instances
from tests.web import market_data

pytestmark = pytest.mark.django_db
SLUG = "kucoin"
SERVED = {SLUG: {"state": "streaming", "reason": "", "may_run": True, "epoch": 7}}


@pytest.fixture(autouse=True)
def fresh(redis_state: redis.Redis) -> None:
    cache.clear()


def beat(name: str = "desk", **fields: Any) -> None:
    told = {"owner": "o", "state": "ready", "region": "DE", "reason": "", "version": "1.2.3", "exchanges": SERVED}
    observed.beat(name, told | fields)


def listed(client: Client) -> dict[str, Any]:
    answer = client.get("/api/v1/instances")
    assert answer.status_code == 200
    return {its["name"]: its for its in answer.json()["instances"]}


def test_a_host_tells_where_it_is_what_it_runs_and_how_it_is_connected(admin_client: Client) -> None:
    beat()
    told = listed(admin_client)["desk"]
    assert (told["state"], told["region"], told["version"]) == ("ready", "DE", "1.2.3")
    assert told["exchanges"] == [{"exchange": SLUG, **SERVED[SLUG]}]
    assert told["rtt_ms"] > 0
    assert abs(told["clock_offset_ms"]) <= told["clock_uncertainty_ms"] + 1
    page = admin_client.get("/instances/").content.decode()
    assert "● ready" in page
    assert "epoch 7" in page


def test_a_host_that_was_killed_is_lost_within_45_seconds_and_one_that_left_is_gone(
    admin_client: Client, redis_state: redis.Redis
) -> None:
    beat()
    beat("other")
    observed.forget("other")
    at_ms = market_data.now_ms()
    states = [instances.instances(at_ms + after_s * 1000)[0].state for after_s in (0, 5, 45)]
    assert states == ["ready", "ready", "lost"]
    redis_state.zadd(keys.hosts(), {"desk": at_ms - 45_000})
    redis_state.delete(keys.host("desk"))  # as its expiry does after half a minute
    assert {name: its["state"] for name, its in listed(admin_client).items()} == {"desk": "lost"}
    assert "✕ lost" in admin_client.get("/instances/").content.decode()


def test_a_host_of_an_older_version_is_shown_as_far_as_it_tells(admin_client: Client, redis_state: redis.Redis) -> None:
    beat()
    redis_state.hdel(keys.host("desk"), "version", "rtt_ms", "clock_offset_ms", "clock_uncertainty_ms")
    told = listed(admin_client)["desk"]
    assert (told["version"], told["rtt_ms"], told["clock_offset_ms"]) == ("", None, None)
    assert admin_client.get("/instances/").status_code == 200


def test_without_any_host_the_page_says_how_to_start_one(admin_client: Client) -> None:
    assert "manage.py stream_host" in admin_client.get("/instances/").content.decode()


def test_health_tells_stream_holder_budgets_and_gaps(admin_client: Client, redis_state: redis.Redis) -> None:
    beat()
    market_data.set_stream(redis_state, SLUG, acked=97)
    held = lease.acquire(SLUG, lease.new_owner("desk"))
    told = admin_client.get(f"/api/v1/exchanges/{SLUG}/health").json()
    assert (told["state"], told["acked"], told["sockets"]) == ("streaming", 97, 2)
    holder = told["holder"]
    assert (holder["host"], holder["epoch"], holder["version"]) == ("desk", held.epoch, "1.2.3")
    assert [gauge["kind"] for gauge in told["limits"]] == ["rest", "connects"]
    assert told["gaps"] == {"open": 0, "day": 0}
    assert told["uptime"] == {"24h": None, "7d": None, "30d": None}
    assert told["match_rate"] is None
    fleet = admin_client.get("/exchanges/").content.decode()
    assert "● streaming" in fleet
    assert all(row.title in fleet for row in Exchange.objects.all())
    page = admin_client.get(f"/exchanges/{SLUG}/").content.decode()
    assert "<meter" in page
    assert f"epoch {held.epoch}" in page
    limits = admin_client.get(f"/api/v1/exchanges/{SLUG}/limits").json()
    assert limits["budgets"][0]["spent"] == 0
    assert admin_client.get(f"/api/v1/exchanges/{SLUG}/gaps").json()["gaps"] == []
    assert admin_client.get("/api/v1/exchanges/nosuch/health").status_code == 404
