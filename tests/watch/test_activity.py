"""The activity of an exchange: every edge, command, edit and incident, searchable, stored, and as CSV."""

from __future__ import annotations

import csv
import io
import time
from typing import Any

import pytest
import redis
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.cache import cache
from django.test import Client

from exchanges import control, observed
from exchanges.control import Verb
from exchanges.models import Exchange
from exchanges.observed import Change
from livermore.core import keys
from livermore.watch import activity
from livermore.watch.models import Activity, Reception

pytestmark = pytest.mark.django_db
SLUG = "kucoin"


@pytest.fixture(autouse=True)
def fresh(redis_state: redis.Redis) -> None:
    cache.clear()


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def edge(event: str, before: str, state: str, reason: str = "", at_ms: int | None = None) -> None:
    change = Change(SLUG, before, event, state, "stream", reason, "desk", 7, now_ms() if at_ms is None else at_ms)
    observed.announce(change)


def read(client: Client, path: str = "activity", **query: Any) -> Any:
    answer = client.get(f"/api/v1/exchanges/{SLUG}/{path}", query)
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_an_edge_is_told_at_once_with_who_why_and_where(admin_client: Client) -> None:
    edge("closed", "streaming", "backing_off", "closed by the venue: 1012")
    (told,) = read(admin_client)["entries"]
    assert (told["kind"], told["what"]) == ("edge", "closed: streaming → backing_off")
    assert (told["actor"], told["host"], told["epoch"]) == ("stream", "desk", 7)
    page = admin_client.get(f"/exchanges/{SLUG}/").content.decode()
    assert "closed: streaming → backing_off" in page
    assert "closed by the venue: 1012" in page
    error = read(admin_client, "health")["last_error"]
    assert error["reason"] == "closed by the venue: 1012"


def test_commands_edits_and_incidents_are_told_too(admin_client: Client, admin_user: Any) -> None:
    row, at_ms = Exchange.objects.get(pk=SLUG), now_ms()
    control.send(SLUG, Verb.PAUSE, issued_by="operator", wait_s=60)
    kind = ContentType.objects.get_for_model(Exchange)
    LogEntry.objects.create(
        user=admin_user, content_type=kind, object_id=SLUG, object_repr=str(row), action_flag=CHANGE,
        change_message='[{"changed": {"fields": ["Rest weight"]}}]',
    )  # fmt: skip
    Reception.objects.create(
        exchange=row, from_ms=at_ms - 90_000, to_ms=at_ms - 60_000, looked_ms=at_ms, cause="no route"
    )
    Reception.objects.create(exchange=row, from_ms=at_ms - 20_000, to_ms=at_ms, looked_ms=at_ms)
    told = {(e["kind"], e["what"], e["actor"], e["detail"]) for e in read(admin_client)["entries"]}
    assert ("command", "pause", "operator", "pending") in told
    assert ("edit", "change", "admin", "Changed Rest weight.") in told
    assert ("incident", "began, outage", "", "no route") in told
    assert ("incident", "ended after 40.0 s", "", "no route") in told
    assert {e["kind"] for e in read(admin_client, kind="edit")["entries"]} == {"edit"}


def test_the_search_looks_into_every_field_and_the_file_holds_what_is_shown(admin_client: Client) -> None:
    for number in range(5):
        edge("closed", "streaming", "backing_off", f"=cut {number}", now_ms() + number)
        edge("open", "connecting", "subscribing", "", now_ms() + number)
    told = read(admin_client, q="CUT")["entries"]
    assert [e["detail"] for e in told] == [f"=cut {number}" for number in (4, 3, 2, 1, 0)]
    page = admin_client.get(f"/exchanges/{SLUG}/", {"q": "cut", "kind": "edge"}).content.decode()
    assert [page.count(f"=cut {number}") >= 1 for number in range(5)] == [True] * 5
    file = admin_client.get(f"/exchanges/{SLUG}/activity.csv", {"q": "cut", "kind": "edge"})
    rows = list(csv.DictReader(io.StringIO(file.content.decode())))
    names = ("kind", "what", "actor", "host")
    assert [[row[n] for n in names] for row in rows] == [[e[n] for n in names] for e in told]
    assert [row["detail"] for row in rows] == [f"'{e['detail']}" for e in told], "a formula is disarmed"
    assert [int(row["at_ms"]) for row in rows] == [e["at_ms"] for e in told]


def test_what_is_stored_survives_an_emptied_store_and_ends(admin_client: Client, redis_state: redis.Redis) -> None:
    edge("open", "connecting", "subscribing")
    command = control.send(SLUG, Verb.PAUSE, issued_by="operator", wait_s=60)
    assert [activity.keep(now_ms()) for _ in range(2)] == [1, 0], "a command under way may still change"
    redis_state.hset(keys.command(command), mapping={"status": "done", "code": "ok"})
    assert activity.keep(now_ms()) == 1
    redis_state.flushdb()
    assert {e["kind"] for e in read(admin_client)["entries"]} == {"edge", "command"}
    activity.keep(now_ms() + activity.KEPT_MS + 60_000)
    assert not Activity.objects.exists()


def test_the_stream_of_edges_is_bounded(redis_state: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observed, "ACTIVITY_KEPT", 10)
    for _ in range(500):
        edge("open", "connecting", "subscribing")
    assert redis_state.xlen(keys.activity(SLUG)) < 250, "about: Redis trims whole nodes"


def test_a_stranger_learns_nothing(client: Client) -> None:
    for path in ("health", "incidents", "activity", "gaps", "limits"):
        assert client.get(f"/api/v1/exchanges/{SLUG}/{path}").status_code == 401
    for path in ("/exchanges/", "/instances/", f"/exchanges/{SLUG}/activity.csv", "/parts/fleet/"):
        assert client.get(path).status_code == 302
    assert client.get("/api/v1/instances").status_code == 401
