"""From the signals stream into the outbox and out by real HTTP: nothing twice, nothing lost, people left in peace."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone

from candles import publish
from candles.notify import channels, outbox, tasks
from candles.notify.models import Channel, Delivery, Rule
from candles.notify.wording import line
from tests.notify.events import alert, ending, event
from tests.support.http_server import Answer, http_server

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def own_network(settings):
    settings.WEBHOOK_PRIVATE_NETWORKS = ["127.0.0.0/8"]


@pytest.fixture
def ann():
    return get_user_model().objects.create(username="ann")


def webhook(user, url: str) -> tuple[Channel, str]:
    return channels.create(user, "hook", "webhook", f"{url}/in?key=s3cret")


def chat(user) -> Channel:
    return channels.create(user, "chat", "chat", "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js")[0]


def rule(user, *at: Channel, **fields) -> Rule:
    made = Rule.objects.create(user=user, name="all", **fields)
    made.channels.set(at)
    return made


def read(redis_state, *events) -> list[int]:
    """New events, as the outbox reads them."""
    outbox.collect()
    publish.signals(events)
    return outbox.collect()


def test_what_was_before_the_first_reading_is_history(ann, redis_state):
    rule(ann, chat(ann))
    publish.signals([event()])
    assert outbox.collect() == []
    assert not Delivery.objects.exists()


def test_a_signal_is_owed_once_and_arrives_signed(ann, redis_state):
    with http_server(lambda _: Answer({})) as server:
        channel, secret = webhook(ann, server.url)
        rule(ann, channel, kinds=["LEADER_MOVE"])
        assert read(redis_state, event(), event(2, kind="PREMIUM")) == [channel.pk]
        assert outbox.collect() == [channel.pk], "read again, nothing is owed again"
        assert outbox.deliver(channel.pk) == 1
        assert outbox.deliver(channel.pk) == 0
    [asked] = server.asked
    body = json.loads(asked.body)
    assert body["event"]["event_id"] == body["event_id"] == event()["event_id"]
    at, said = (part.partition("=")[2] for part in asked.headers["Livermore-Signature"].split(","))
    assert said == hmac.new(secret.encode(), f"{at}.".encode() + asked.body, hashlib.sha256).hexdigest()
    assert Delivery.objects.get().state == "sent"


def test_an_alert_is_owed_once_and_told_again_when_a_revision_takes_it_back(ann, redis_state):
    with http_server(lambda _: Answer({})) as server:
        channel, _ = webhook(ann, server.url)
        rule(ann, channel, kinds=["macdv"])
        outbox.collect()
        note = {"stands": True}
        told = {"a:0": alert(), "a:1": alert(phase="revised", revised=note)}
        publish.alerts_once(told, 0)
        publish.alerts_once(told | {"a:2": alert(phase="revised", revised={"stands": False})}, 0)
        outbox.collect()
        assert outbox.deliver(channel.pk) == 2
    assert [json.loads(a.body)["event"] for a in server.asked] == [
        alert(), alert(phase="revised", revised={"stands": False}),
    ]  # fmt: skip


def test_a_chat_reads_an_alert_in_one_line():
    assert line(alert()) == "▼ kucoin BTC-USDT 1h · macdv level -200 · -210.2 · 64000.1"
    taken_back = alert(phase="revised", revised={"stands": False})
    assert line(taken_back) == "▼ kucoin BTC-USDT 1h · macdv level -200: taken back, its bar was revised"


def test_updates_are_for_screens_and_an_end_is_told_where_its_opening_was(ann, redis_state):
    with http_server(lambda _: Answer({})) as server:
        channel, _ = webhook(ann, server.url)
        rule(ann, channel, min_net_bps="20")
        read(redis_state, event(), event(phase="updated"), ending(), ending(7))
        assert outbox.deliver(channel.pk) == 2
    assert [json.loads(a.body)["phase"] for a in server.asked] == ["opened", "closed"]


def test_a_receiver_that_fails_gets_the_same_message_later_and_in_order(ann, redis_state):
    answers = [Answer({}, status=500), Answer({}, status=429, headers={"Retry-After": "30"}), Answer({}), Answer({})]
    with http_server(lambda _: answers.pop(0)) as server:
        channel, _ = webhook(ann, server.url)
        rule(ann, channel)
        read(redis_state, event(1), event(2))
        for wait in (timedelta(seconds=5), timedelta(seconds=30)):
            before = timezone.now()
            outbox.deliver(channel.pk)
            first = Delivery.objects.order_by("id")[0]
            assert first.state == "owed"
            assert before + wait <= first.due_at <= timezone.now() + wait
            assert "s3cret" not in first.last_error
            Delivery.objects.update(due_at=timezone.now())
        assert outbox.deliver(channel.pk) == 2
    ids = [a.headers["Livermore-Delivery"] for a in server.asked]
    assert ids[0] == ids[1] == ids[2] != ids[3]
    assert list(Delivery.objects.order_by("id").values_list("state", "tries")) == [("sent", 2), ("sent", 0)]


def test_after_a_day_it_is_given_up_and_an_operator_can_send_it_again(ann, redis_state, admin_client):
    answers = [Answer({}, status=503), Answer({})]
    with http_server(lambda _: answers.pop(0)) as server:
        channel, _ = webhook(ann, server.url)
        rule(ann, channel)
        read(redis_state, event())
        Delivery.objects.update(created_at=timezone.now() - timedelta(hours=24))
        outbox.deliver(channel.pk)
        one = Delivery.objects.get()
        assert (one.state, one.last_error) == ("dead", "127.0.0.1 says 503")
        admin_client.post("/admin/notify/delivery/", {"action": "send_again", "_selected_action": [one.pk]})
        assert outbox.deliver(channel.pk) == 1


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("https://10.1.2.3/x", "private address 10.1.2.3"),
        ("https://169.254.169.254/latest", "private address 169.254.169.254"),
        ("https://[::1]/x", "private address ::1"),
        ("http://1.1.1.1/x", "begins with https"),
        ("ftp://example.com/x", "begins with https"),
        ("https://nowhere.invalid/x", "is not known"),
    ],
)
def test_a_webhook_is_public_or_refused(ann, address, why):
    from livermore.core.errors import InvalidInput

    with pytest.raises(InvalidInput, match=why):
        channels.create(ann, "hook", "webhook", address)


def test_an_address_that_became_private_is_not_called(ann, redis_state, settings):
    with http_server(lambda _: Answer({})) as server:
        channel, _ = webhook(ann, server.url)
        rule(ann, channel)
        read(redis_state, event())
        settings.WEBHOOK_PRIVATE_NETWORKS = []
        assert outbox.deliver(channel.pk) == 0
    assert server.asked == []
    assert Delivery.objects.get().state == "dead"


def test_people_are_told_of_a_burst_at_once_and_programs_one_by_one(ann, redis_state, monkeypatch):
    with discord(monkeypatch) as server:
        channel = chat(ann)
        rule(ann, channel, cap_per_hour=1000)
        read(redis_state, *[event(n) for n in range(200)])
        sent = 0
        while Delivery.objects.owed().exists():
            sent += outbox.deliver(channel.pk)
    assert sent == 200
    assert len(server.asked) == 4
    told = str(json.loads(server.asked[0].body))
    assert "▲ BTC · leader move coinbase moved +39.92 bps in 60 s · binance BTC-USDT +2.00 bps" in told
    assert "and 40 more" in told


def test_a_chat_that_fails_or_has_enough_loses_nothing(ann, redis_state, monkeypatch):
    answers = [Answer({}, status=503), Answer({}, status=429), Answer({}, status=204)]
    with discord(monkeypatch, lambda _: answers.pop(0)) as server:
        channel = chat(ann)
        rule(ann, channel)
        read(redis_state, event())
        assert outbox.deliver(channel.pk) == 0
        assert Delivery.objects.get().state == "owed"
        Delivery.objects.update(due_at=timezone.now())
        assert outbox.deliver(channel.pk) == 1
    assert len(server.asked) == 3


def test_beyond_the_hours_cap_the_rest_is_told_together_when_the_hour_is_over(ann, redis_state):
    channel = chat(ann)
    rule(ann, channel, cap_per_hour=3)
    read(redis_state, *[event(n) for n in range(5)])
    rows = list(Delivery.objects.order_by("id"))
    assert [row.is_digest for row in rows] == [False, False, False, True, True]
    assert rows[3].due_at == rows[4].due_at == rows[0].created_at + timedelta(hours=1)


def test_in_quiet_hours_messages_to_people_wait_and_those_to_programs_do_not(ann, redis_state):
    now = timezone.now()
    with http_server(lambda _: Answer({})) as server:
        hook, _ = webhook(ann, server.url)
        quiet = {"quiet_from": (now - timedelta(hours=1)).time(), "quiet_to": (now + timedelta(hours=2)).time()}
        rule(ann, hook, chat(ann), **quiet)
        assert read(redis_state, event()) == [hook.pk]
    waiting = Delivery.objects.get(channel__kind="chat")
    assert waiting.is_digest
    assert timedelta(hours=1, minutes=58) < waiting.due_at - now <= timedelta(hours=2)


def test_two_senders_do_not_meet(ann, redis_state):
    with http_server(lambda _: Answer({})) as server:
        channel, _ = webhook(ann, server.url)
        rule(ann, channel)
        read(redis_state, event())
        redis_state.set(f"notify:lock:{channel.pk}", "another")
        tasks.deliver(channel.pk)
        assert server.asked == []
        redis_state.delete(f"notify:lock:{channel.pk}")
        tasks.deliver(channel.pk)
        assert len(server.asked) == 1


def discord(monkeypatch, answer=lambda _: Answer({}, status=204)):
    """Discord's own address becomes ours; the rest of apprise is as it is."""
    from contextlib import contextmanager

    from apprise.plugins.discord import NotifyDiscord

    @contextmanager
    def running():
        with http_server(answer) as server:
            monkeypatch.setattr(NotifyDiscord, "notify_url", f"{server.url}/api/webhooks")
            monkeypatch.setattr(NotifyDiscord, "request_rate_per_sec", 0)
            yield server

    return running()
