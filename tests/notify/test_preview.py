"""A preview tells what the outbox would have told: the same events through both give the same count."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from candles.models import Signal
from candles.notify import outbox
from candles.notify.models import Channel, Delivery, Rule
from candles.notify.preview import DAY_MS, preview
from tests.notify.events import event

pytestmark = pytest.mark.django_db
NOW_MS = time.time_ns() // 1_000_000


def happened(count: int = 200) -> list[dict[str, Any]]:
    """Events of a week, each in the table as the evaluator leaves it."""
    dice = random.Random(7)
    events = []
    for number in range(count):
        net = f"{dice.uniform(0, 40):.2f}"
        told = event(
            number, base=dice.choice(["BTC", "ETH"]), direction=dice.choice(["up", "down"]),
            costs={"local_taker_bps": "10", "net_entry_bps": net},
        )  # fmt: skip
        events.append(told)
        Signal.objects.create(
            event_id=told["event_id"], kind=told["kind"], phase="closed", base=told["base"],
            direction=told["direction"], leader_id="coinbase", follower_id="binance", window_s=60,
            opened_ms=NOW_MS - dice.randrange(6 * DAY_MS), closed_ms=NOW_MS,
            outcome=dice.choice(["converged", "expired"]), duration_ms=dice.randrange(1_000, 9_000), event=told,
            opening=told,
        )  # fmt: skip
    return events


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"bases": ["ETH"], "direction": "up", "min_net_bps": "15"},
        {"min_net_bps": "20", "fee_bps": "2"},
        {"home": "kucoin"},
    ],
)
def test_the_preview_equals_the_replay(fields: dict[str, Any]) -> None:
    events = happened()
    user = get_user_model().objects.create(username="ann")
    channel = Channel.objects.create(user=user, name="hook", kind="webhook", address=b"x")
    home = {"home_id": fields["home"]} if "home" in fields else {}
    rule = Rule.objects.create(user=user, name="r", **{k: v for k, v in fields.items() if k != "home"}, **home)
    rule.channels.set([channel])
    rule.refresh_from_db()
    found = preview(rule.wish(), NOW_MS)
    assert outbox.owe(events) == Delivery.objects.count() == found.wanted
    assert found.wanted + found.refused.total() == len(events)
    assert found.outcomes.total() == found.wanted


def test_what_is_older_or_was_never_seen_to_open_does_not_count() -> None:
    happened(3)
    Signal.objects.update(opened_ms=NOW_MS - 8 * DAY_MS)
    assert preview(Rule(zone="UTC").wish(), NOW_MS).wanted == 0
    Signal.objects.update(opened_ms=NOW_MS - DAY_MS, opening=None)
    assert preview(Rule(zone="UTC").wish(), NOW_MS).wanted == 0


def test_the_api_tells_it_before_a_rule_is_kept(client: Client, redis_state: Any) -> None:
    happened(50)
    client.force_login(get_user_model().objects.create(username="reader"))
    body = {"name": "eth", "bases": ["ETH"]}
    said = client.post("/api/v1/rules/preview", body, content_type="application/json").json()
    assert said["wanted"] == Signal.objects.filter(base="ETH").count() > 0
    assert said["refused"] == {"base": 50 - said["wanted"]}
    assert 0 <= said["converged_rate"] <= 1
    assert said["median_s"] > 0
    assert not Rule.objects.exists()
