"""The outbox: events are read into owed messages in one transaction, and sent until they have arrived."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from candles.notify import chat, webhook
from candles.notify.matching import Wish, is_taken_back, quiet_until, refusal
from candles.notify.models import Channel, Cursor, Delivery, Rule
from candles.notify.webhook import NotSent
from candles.notify.wording import message
from exchanges.credentials import CredentialsUnreadable, unseal
from exchanges.state import state_redis, unavailable
from livermore.core import keys
from livermore.logs import event as log_event

log = logging.getLogger(__name__)

READ_AT_ONCE = 500
SENT_AT_ONCE = 50
FIRST_RETRY_S, LONGEST_RETRY_S = 5.0, 3600.0
GIVEN_UP_AFTER = timedelta(hours=24)
_HOUR = timedelta(hours=1)

Event = Mapping[str, Any]


@unavailable()
def collect() -> list[int]:
    """Owe what new signals and alerts ask for; returns the channels to which something is due now.

    A stream's cursor moves in the same transaction: after a crash the same events are read again, and a message that is
    owed already is not owed twice. What came before the very first reading is history, and nobody is told.
    """
    for stream in (keys.signals_stream(), keys.alerts_stream()):
        _read(stream)
    due = Delivery.objects.owed().filter(due_at__lte=timezone.now(), channel__is_enabled=True)
    return sorted(set(due.order_by().values_list("channel_id", flat=True)))


def _read(stream: str) -> None:
    with transaction.atomic():
        cursor = Cursor.objects.select_for_update().filter(pk=stream).first()
        if cursor is None:
            newest = state_redis().xrevrange(stream, count=1)
            Cursor.objects.create(stream=stream, entry=newest[0][0].decode() if newest else "0-0")
        else:
            entries = state_redis().xrange(stream, min=f"({cursor.entry}", count=READ_AT_ONCE)
            owe([json.loads(fields[b"event"]) for _, fields in entries])
            if entries:
                cursor.entry = entries[-1][0].decode()
                cursor.save()


def owe(events: Sequence[Event]) -> int:
    """Write down a message for each channel of each rule that wants an event; how many those are.

    An event that closes is told where its opening was, as is an alert that a revision took back. Updates are for
    screens only (signals.md §4.4).
    """
    rules = list(Rule.objects.filter(is_enabled=True, user__is_active=True).prefetch_related("channels"))
    now = timezone.now()
    owed = 0
    for event in events:
        if event.get("phase") == "closed" or is_taken_back(event):
            owed += _owe_end(event, now)
        elif event.get("phase") in ("opened", "raised"):
            owed += sum(_owe(rule, event, now) for rule in rules if not refusal(rule.wish(), event))
    return owed


def _owe(rule: Rule, event: Event, now: datetime) -> int:
    made = 0
    for channel in rule.channels.all():
        later = _later(rule, now) if channel.kind == Channel.Kind.CHAT else None
        _, is_new = Delivery.objects.get_or_create(
            channel=channel, event_id=event["event_id"], phase="opened",
            defaults={
                "rule": rule, "event": event, "created_at": now, "due_at": later or now, "is_digest": later is not None
            },
        )  # fmt: skip
        made += is_new
    return made


def _later(rule: Rule, now: datetime) -> datetime | None:
    """Until when people are left alone: their quiet hours, or their hour is full; programs are never."""
    quiet = quiet_until(rule.wish(), now)
    if quiet is not None:
        return quiet
    told = Delivery.objects.filter(
        rule__user=rule.user_id, channel__kind=Channel.Kind.CHAT, is_digest=False, phase="opened",
        created_at__gt=now - _HOUR,
    ).order_by("created_at")  # fmt: skip
    times = list(told.values_list("created_at", flat=True))
    return times[0] + _HOUR if len(times) >= rule.cap_per_hour else None


def _owe_end(event: Event, now: datetime) -> int:
    opened = Delivery.objects.filter(event_id=event["event_id"], phase="opened")
    ends = [
        Delivery(
            channel_id=told.channel_id, rule_id=told.rule_id, event_id=told.event_id, phase="closed", event=event,
            created_at=now, due_at=max(now, told.due_at), is_digest=told.is_digest,
        )
        for told in opened
    ]  # fmt: skip
    Delivery.objects.bulk_create(ends, ignore_conflicts=True)
    return len(ends)


def tell_operators(event: Event) -> int:
    """Owe an incident's beginning, or its end where the beginning was told; how many messages that makes."""
    now, made = timezone.now(), 0
    channels = Channel.objects.filter(is_operators=True, is_enabled=True, user__is_active=True)
    if event["phase"] == "closed":
        told = Delivery.objects.filter(event_id=event["event_id"], phase="opened")
        channels = Channel.objects.filter(pk__in=told.values("channel"))
    for channel in channels:
        _, is_new = Delivery.objects.get_or_create(
            channel=channel, event_id=event["event_id"], phase=event["phase"],
            defaults={"event": event, "created_at": now, "due_at": now},
        )  # fmt: skip
        made += is_new
    return made


def told_incident(prefix: str) -> Event | None:
    """The newest incident of which operators know the beginning and not the end; None where there is none."""
    told = Delivery.objects.filter(event_id__startswith=prefix).order_by("-id").first()
    return told.event if told is not None and told.phase == "opened" else None


# ---- sending -----------------------------------------------------------------------------------


def deliver(channel_id: int) -> int:
    """Send what is due to a channel; how many messages of the outbox arrived. One caller at a time."""
    channel = Channel.objects.filter(pk=channel_id, is_enabled=True).first()
    if channel is None:
        return 0
    due = channel.deliveries.owed().filter(due_at__lte=timezone.now()).select_related("rule").order_by("id")
    owed = list(due[:SENT_AT_ONCE])
    # People are told of a burst at once; a program gets every event by itself.
    groups = [owed] if channel.kind == Channel.Kind.CHAT and owed else [[one] for one in owed]
    sent = 0
    for group in groups:
        try:
            _send(channel, group)
        except NotSent as error:
            _postpone(channel, group, error)
            break  # what comes after would meet the same
        sent += len(group)
        _arrived(channel, group)
    return sent


def _send(channel: Channel, group: Sequence[Delivery]) -> None:
    try:
        address, secret = unseal(channel.address), unseal(channel.secret) if channel.secret else ""
    except CredentialsUnreadable as error:
        raise NotSent(str(error), is_final=True) from None
    if channel.kind == Channel.Kind.CHAT:
        told = [(one.event, one.rule.wish() if one.rule else Wish()) for one in group]
        chat.send(address, *message(told, is_digest=any(one.is_digest for one in group)))
        return
    [one] = group
    body = {"id": str(one.pk), "event_id": one.event_id, "phase": one.phase, "event": one.event}
    webhook.send(address, secret, str(one.pk), json.dumps(body, separators=(",", ":")).encode())


def _arrived(channel: Channel, group: Iterable[Delivery]) -> None:
    now = timezone.now()
    sent = Delivery.objects.filter(pk__in=[one.pk for one in group])
    sent.update(state=Delivery.State.SENT, sent_at=now, last_error="")
    Channel.objects.filter(pk=channel.pk).update(last_sent_at=now, last_error="")


def _postpone(channel: Channel, group: Iterable[Delivery], error: NotSent) -> None:
    """Later, as the receiver says, or twice as long as the last time; after a day never."""
    now = timezone.now()
    states: defaultdict[str, int] = defaultdict(int)
    for one in group:
        one.tries += 1
        wait_s = min(FIRST_RETRY_S * 2 ** (one.tries - 1), LONGEST_RETRY_S) if error.retry_s is None else error.retry_s
        one.due_at, one.last_error = now + timedelta(seconds=wait_s), str(error)[:200]
        if error.is_final or one.due_at > one.created_at + GIVEN_UP_AFTER:
            one.state = Delivery.State.DEAD
        one.save(update_fields=["tries", "due_at", "last_error", "state"])
        states[one.state] += 1
    Channel.objects.filter(pk=channel.pk).update(last_error=str(error)[:200])
    log_event(log, "notify.not_sent", logging.WARNING, channel=channel.pk, why=error, **states)
