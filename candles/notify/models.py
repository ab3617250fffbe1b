"""Rules of users, where messages go, and the outbox: one row for each message that is owed."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models

from candles.notify.matching import Wish
from exchanges.fields import ExactDecimalField
from exchanges.models import Exchange

CAP_PER_HOUR = 30
"""Messages of signals to one user in an hour, before the rest is told together (signals.md §4.4)."""


class Channel(models.Model):
    """Where a user is told. The address holds secrets: it is encrypted, and never shown again."""

    class Kind(models.TextChoices):
        WEBHOOK = "webhook", "webhook (signed JSON)"
        CHAT = "chat", "Discord, Slack, Telegram or mail"

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="channels")
    name = models.CharField(max_length=64)
    kind = models.CharField(max_length=8, choices=Kind)
    address = models.BinaryField(editable=False)
    secret = models.BinaryField(editable=False, default=b"", help_text="Signs webhooks.")
    is_enabled = models.BooleanField(default=True)
    is_operators = models.BooleanField(default=False, help_text="Told when data of an exchange cease to come.")
    last_error = models.CharField(max_length=200, blank=True, editable=False)
    last_sent_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "channels"
        constraints = [models.UniqueConstraint(fields=["user", "name"], name="channel_once")]

    def __str__(self) -> str:
        return f"{self.name} of {self.user}"


class Rule(models.Model):
    """Which signals a user wants to hear of, and where; an empty list means any (`matching.Wish`)."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="rules")
    name = models.CharField(max_length=64)
    is_enabled = models.BooleanField(default=True)
    home = models.ForeignKey(
        Exchange, models.CASCADE, null=True, blank=True, related_name="+", help_text="Where you buy; empty for any."
    )
    leaders = models.JSONField(default=list, blank=True, help_text='Exchanges that may lead, as ["coinbase"].')
    kinds = models.JSONField(default=list, blank=True, help_text='Kinds of signals, as ["LEADER_MOVE"].')
    bases = models.JSONField(default=list, blank=True, help_text='Assets, as ["BTC", "ETH"].')
    excluded = models.JSONField(default=list, blank=True, help_text="Assets that you never want to hear of.")
    direction = models.CharField(max_length=4, blank=True, choices=[("up", "up"), ("down", "down")])
    min_net_bps = ExactDecimalField(null=True, blank=True, help_text="Least that is left after costs, in bps.")
    min_z = ExactDecimalField(null=True, blank=True, help_text="Least move in units of its usual size.")
    fee_bps = ExactDecimalField(null=True, blank=True, help_text="Your own taker fee at home, in bps.")
    requires_regime = models.BooleanField(default=False, help_text="Only when LEAD_LAG says that this leader leads.")
    quiet_from = models.TimeField(null=True, blank=True)
    quiet_to = models.TimeField(null=True, blank=True)
    zone = models.CharField(max_length=64, default="UTC", help_text="Of the quiet hours, as Europe/Berlin.")
    cap_per_hour = models.PositiveSmallIntegerField(default=CAP_PER_HOUR)
    channels = models.ManyToManyField(Channel, related_name="rules", blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "rules"
        constraints = [models.UniqueConstraint(fields=["user", "name"], name="rule_once")]

    def __str__(self) -> str:
        return f"{self.name} of {self.user}"

    def clean(self) -> None:
        """Lists hold texts, both ends of the quiet hours are given or none, the zone exists."""
        for name in ("leaders", "kinds", "bases", "excluded"):
            value = getattr(self, name)
            if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
                raise ValidationError({name: 'a list of texts is needed, as ["BTC", "ETH"]'})
        if (self.quiet_from is None) != (self.quiet_to is None):
            raise ValidationError({"quiet_to": "quiet hours need both ends, or none"})
        if self.zone not in available_timezones():
            raise ValidationError({"zone": f"{self.zone!r} is no time zone; accepted: names such as Europe/Berlin"})

    def wish(self) -> Wish:
        """As `matching` takes it."""
        ends = (self.quiet_from, self.quiet_to)
        quiet = tuple(end.hour * 60 + end.minute for end in ends if end is not None)
        return Wish(
            kinds=self.kinds, bases=self.bases, home=self.home_id or "", leaders=self.leaders,
            direction=self.direction, min_net_bps=self.min_net_bps, min_z=self.min_z, fee_bps=self.fee_bps,
            requires_regime=self.requires_regime, excluded=self.excluded,
            quiet=(quiet[0], quiet[1]) if len(quiet) == 2 else None, zone=str(ZoneInfo(self.zone)),
        )  # fmt: skip


class DeliveryQuerySet(models.QuerySet[Any]):
    """Reads of the outbox."""

    def owed(self) -> DeliveryQuerySet:
        """Neither sent nor given up."""
        return self.filter(state=Delivery.State.OWED)


class Delivery(models.Model):
    """One message owed to one channel. It is sent at least once; its id tells a receiver that it came again."""

    class State(models.TextChoices):
        OWED = "owed", "owed"
        SENT = "sent", "sent"
        DEAD = "dead", "given up"

    channel = models.ForeignKey(Channel, models.CASCADE, related_name="deliveries")
    rule = models.ForeignKey(Rule, models.SET_NULL, null=True, blank=True, related_name="deliveries")
    event_id = models.CharField(max_length=64)
    phase = models.CharField(max_length=8)
    event = models.JSONField()
    state = models.CharField(max_length=4, choices=State, default=State.OWED)
    is_digest = models.BooleanField(default=False, help_text="Told with others: the hour's cap, or quiet hours.")
    tries = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField()
    due_at = models.DateTimeField(db_index=True)
    sent_at = models.DateTimeField(null=True)
    last_error = models.CharField(max_length=200, blank=True)

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        db_table = "deliveries"
        ordering = ["-id"]
        verbose_name_plural = "deliveries"
        constraints = [models.UniqueConstraint(fields=["channel", "event_id", "phase"], name="delivery_once")]
        indexes = [models.Index(fields=["state", "due_at"], name="delivery_by_due")]

    def __str__(self) -> str:
        return f"{self.event_id} {self.phase} to {self.channel_id}"


class Cursor(models.Model):
    """How far a stream of events has been read into the outbox; moved in the transaction that owes its messages."""

    stream = models.CharField(primary_key=True, max_length=64)
    entry = models.CharField(max_length=32)

    class Meta:
        db_table = "notify_cursors"

    def __str__(self) -> str:
        return f"{self.stream} read to {self.entry}"
