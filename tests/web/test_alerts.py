"""Alerts over the API: closed to strangers, newest first, and pages that new alerts do not shift."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from candles.models import Alert
from candles.notify.models import Channel, Delivery
from livermore.core import keys
from livermore.core.candle import BUCKET_MS
from tests.web.market_data import current_bucket


def stored(number: int, *, exchange: str = "kucoin", symbol: str = "BTC-USDT", **event: Any) -> Alert:
    open_ms = current_bucket() - number * BUCKET_MS
    said = {"label": "level_-150", "bar_close_time": open_ms + BUCKET_MS, "value": -151.2, "revised": None, **event}
    return Alert.objects.create(
        event_id=UUID(int=Alert.objects.count()), exchange_id=exchange, symbol=symbol, timeframe="5m", kind="macdv",
        label="level_-150", open_ms=open_ms, price=Decimal("0.000000123456789012"), raised_ms=open_ms, event=said,
    )  # fmt: skip


def read(browser: Client, query: str = "") -> dict[str, Any]:
    answer = browser.get(f"/api/v1/alerts{query}")
    assert answer.status_code == 200, answer.content
    return answer.json()


@pytest.mark.parametrize("path", ["alerts", "alerts/suppressed"])
def test_a_stranger_learns_nothing(client: Client, db: None, path: str) -> None:
    assert client.get(f"/api/v1/{path}").status_code == 401


def test_an_alert_is_shown_as_it_stands_with_its_age(browser: Client) -> None:
    row = stored(2, revised={"stands": False})
    (shown,) = read(browser)["alerts"]
    assert (shown["id"], shown["label"], shown["revised"]) == (row.pk, "level_-150", {"stands": False})
    assert shown["age_ms"] >= BUCKET_MS


def test_each_channel_of_the_caller_says_whether_it_has_told(browser: Client, trader: User) -> None:
    row, other = stored(1), User.objects.create(username="other")
    for user, state in ((trader, "sent"), (other, "dead")):
        channel = Channel.objects.create(user=user, name="hook", kind="webhook", address=b"")
        now = timezone.now()
        Delivery.objects.create(
            channel=channel, event_id=row.event_id, phase="opened", event={}, state=state, created_at=now, due_at=now
        )
    assert read(browser)["alerts"][0]["delivery"] == {"hook": "sent"}


def test_pages_are_not_shifted_by_new_alerts(browser: Client) -> None:
    old = [stored(number).pk for number in range(5, 0, -1)]
    first = read(browser, "?limit=2")
    stored(0)
    second = read(browser, f"?limit=2&before={first['next']}")
    third = read(browser, f"?limit=2&before={second['next']}")
    seen = [shown["id"] for page in (first, second, third) for shown in page["alerts"]]
    assert seen == old[::-1]
    assert third["next"] is None


@pytest.mark.parametrize(
    ("query", "count"),
    [("?exchange=kucoin", 2), ("?exchange=coinbase", 1), ("?symbol=eth-usdt", 1), ("?timeframe=1h", 0),
     ("?label=level_-150", 3), ("?label=level_-200", 0)],
)  # fmt: skip
def test_filters(browser: Client, query: str, count: int) -> None:
    stored(1)
    stored(1, symbol="ETH-USDT")
    stored(1, exchange="coinbase", symbol="BTC-USD")
    assert len(read(browser, query)["alerts"]) == count


@pytest.mark.parametrize(
    ("query", "status"), [("exchange=bitmex", 404), ("timeframe=1m", 422), ("limit=0", 422), ("before=x", 422)]
)
def test_what_cannot_be_is_refused(browser: Client, query: str, status: int) -> None:
    answer = browser.get(f"/api/v1/alerts?{query}")
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


def test_what_was_kept_back_is_counted_by_reason(browser: Client, redis_state: Any) -> None:
    redis_state.hset(keys.unalerted("kucoin"), mapping={"data_gap": 3, "late": 1})
    assert read(browser, "/suppressed")["suppressed"] == {"kucoin": {"data_gap": 3, "late": 1}}


def test_an_operator_sees_them_in_the_admin(client: Client, db: None) -> None:
    client.force_login(User.objects.create_superuser("chief", password="correct horse battery"))
    row = stored(1)
    for path in ("", f"{row.pk}/change/"):
        page = client.get(f"/admin/candles/alert/{path}")
        assert page.status_code == 200
        assert "level_-150" in page.content.decode()
