"""Operators hear of each outage once at its beginning and once at its end, and a dead man's switch is held."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model

from candles.notify import channels, outbox, tasks
from candles.notify.models import Channel, Delivery
from candles.notify.wording import line
from livermore.watch import telling
from livermore.watch.models import Reception
from tests.support.http_server import Answer, http_server

pytestmark = pytest.mark.django_db
SLUG, BEGIN_MS = "binance", 1_790_000_000_000
MINUTE_MS = 60_000


@pytest.fixture
def operator(settings: Any, redis_state: Any) -> Channel:
    settings.WEBHOOK_PRIVATE_NETWORKS = ["127.0.0.0/8"]
    user = get_user_model().objects.create(username="operator", is_staff=True)
    channel, _ = channels.create(user, "desk", "webhook", "http://127.0.0.1:9/in")
    Channel.objects.update(is_operators=True)
    channels.create(user, "another", "webhook", "http://127.0.0.1:9/other")
    return channel


def received(from_ms: int, to_ms: int, cause: str = "") -> Reception:
    return Reception.objects.create(exchange_id=SLUG, from_ms=from_ms, to_ms=to_ms, looked_ms=to_ms, cause=cause)


def test_an_outage_is_told_once_and_its_end_once(operator: Channel) -> None:
    row = received(BEGIN_MS, BEGIN_MS + MINUTE_MS, cause="trades silent 22 s")
    ceased_ms = row.to_ms
    assert telling.tell(ceased_ms + 9_000) == 0, "it may be a reconnect"
    assert telling.tell(ceased_ms + 11_000) == 1
    assert telling.tell(ceased_ms + 21_000) == 0
    received(ceased_ms + 40_000, ceased_ms + 41_000)
    assert telling.tell(ceased_ms + 41_000) == 1
    assert telling.tell(ceased_ms + 51_000) == 0
    opened, closed = Delivery.objects.order_by("id")
    assert {opened.channel_id, closed.channel_id} == {operator.pk}
    assert "no data since 2026-09-21 14:14:20 UTC: trades silent 22 s" in line(opened.event)
    assert line(closed.event) == "✔ binance: data come again after 41.0 s"


def test_a_second_outage_is_another_one(operator: Channel) -> None:
    first = received(BEGIN_MS, BEGIN_MS + MINUTE_MS, cause="cut")
    telling.tell(first.to_ms + 20_000)
    again = received(first.to_ms + 30_000, first.to_ms + 90_000)
    telling.tell(again.to_ms)
    Reception.objects.filter(pk=again.pk).update(cause="cut again")
    telling.tell(again.to_ms + 20_000)
    told = Delivery.objects.order_by("id").values_list("phase", flat=True)
    assert list(told) == ["opened", "closed", "opened"]


def test_what_somebody_stopped_is_no_incident(operator: Channel) -> None:
    received(BEGIN_MS, BEGIN_MS + MINUTE_MS)
    Reception.objects.update(ended="stopped")
    assert telling.tell(BEGIN_MS + 10 * MINUTE_MS) == 0


def test_nobody_else_can_be_told_of_an_end(operator: Channel) -> None:
    assert outbox.tell_operators({"event_id": "incident:binance:1", "phase": "closed"}) == 0


def test_the_heartbeat_asks_its_address_and_survives_a_refusal(operator: Channel, settings: Any) -> None:
    tasks.heartbeat()
    answers = [Answer({}), Answer({}, status=500)]
    with http_server(lambda _: answers.pop(0)) as server:
        settings.HEARTBEAT_URL = f"{server.url}/ping?key=1"
        tasks.heartbeat()
        tasks.heartbeat()
    assert [(a.method, a.path) for a in server.asked] == [("GET", "/ping")] * 2
