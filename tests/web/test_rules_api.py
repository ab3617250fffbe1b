"""Rules and channels over the API: a user's own, checked, and their addresses never shown."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from candles.notify.models import Channel, Delivery, Rule
from tests.notify.events import event
from tests.support.http_server import Answer, http_server


@pytest.fixture(autouse=True)
def own_network(settings: Any) -> None:
    settings.WEBHOOK_PRIVATE_NETWORKS = ["127.0.0.0/8"]


@pytest.fixture
def desk(client: Client, operator: User, redis_state: Any) -> Client:
    client.force_login(operator)
    return client


def send(client: Client, path: str, method: str = "post", **body: Any) -> Any:
    return getattr(client, method)(f"/api/v1/{path}", body, content_type="application/json")


def test_a_channel_is_made_tried_and_never_shows_its_address(desk: Client) -> None:
    with http_server(lambda _: Answer({})) as server:
        made = send(desk, "channels", name="hook", kind="webhook", address=f"{server.url}/secret-path").json()
        assert len(made["secret"]) > 30
        assert desk.post(f"/api/v1/channels/{made['id']}/test").json() == {"arrived": True, "why": ""}
    assert len(server.asked) == 1
    shown = desk.get("/api/v1/channels").content.decode() + desk.get("/admin/notify/channel/").content.decode()
    shown += desk.get(f"/admin/notify/channel/{made['id']}/change/").content.decode()
    assert "secret-path" not in shown
    assert made["secret"] not in shown
    assert b"secret-path" not in bytes(Channel.objects.get().address)


@pytest.mark.parametrize(
    ("kind", "address", "said"),
    [
        ("webhook", "https://10.0.0.1/x", "private address"),
        ("chat", "xml://example.com/x", "discord://"),
        ("pigeon", "https://example.com", "webhook chat"),
    ],
)
def test_an_address_that_cannot_be_is_refused(desk: Client, kind: str, address: str, said: str) -> None:
    answer = send(desk, "channels", name="x", kind=kind, address=address)
    assert answer.status_code == 422
    assert said in answer.json()["error"]["message"]


def test_a_rule_is_made_replaced_and_removed(desk: Client, operator: User) -> None:
    made = send(desk, "rules", name="eth", bases=["ETH"], min_net_bps="15", home="binance", cap_per_hour=5)
    assert made.status_code == 201
    assert (made.json()["min_net_bps"], made.json()["home"], made.json()["cap_per_hour"]) == ("15", "binance", 5)
    path = f"rules/{made.json()['id']}"
    changed = send(desk, path, "put", name="eth", bases=["ETH", "BTC"], min_net_bps=None).json()
    assert (changed["bases"], changed["min_net_bps"], changed["home"]) == (["ETH", "BTC"], None, "")
    assert desk.delete(f"/api/v1/{path}").json() == {"id": made.json()["id"]}
    assert not Rule.objects.exists()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"zone": "Mars/Olympus"}, "is no time zone"),
        ({"quiet_from": "23:00"}, "both ends"),
        ({"home": "nope"}, "home"),
        ({"channels": [99]}, "/api/v1/channels"),
        ({"direction": "sideways"}, "direction"),
        ({"bases": [1]}, "bases"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(desk: Client, fields: dict[str, Any], said: str) -> None:
    answer = send(desk, "rules", name="x", **fields)
    assert answer.status_code == 422
    assert said in answer.json()["error"]["message"]


def test_what_is_another_users_is_not_there(desk: Client, trader: User) -> None:
    theirs = Rule.objects.create(user=trader, name="mine")
    channel = Channel.objects.create(user=trader, name="c", kind="chat", address=b"x")
    at = theirs.created_at
    Delivery.objects.create(channel=channel, event_id="e", phase="opened", event=event(), created_at=at, due_at=at)
    assert desk.get("/api/v1/rules").json()["rules"] == []
    assert desk.get("/api/v1/channels").json()["channels"] == []
    assert desk.get("/api/v1/deliveries").json()["deliveries"] == []
    assert send(desk, f"rules/{theirs.pk}", "put", name="stolen").status_code == 404
    assert send(desk, "rules", name="x", channels=[channel.pk]).status_code == 422


def test_who_may_only_read_changes_nothing(browser: Client) -> None:
    assert browser.get("/api/v1/rules").status_code == 200
    assert send(browser, "rules", name="x").status_code == 403
    assert send(browser, "channels", name="x", kind="chat", address="discord://a/b").status_code == 403
