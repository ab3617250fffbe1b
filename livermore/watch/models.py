"""What is remembered of the exchanges' streams: when data came, and what was done."""

from __future__ import annotations

from django.db import models

STOPPED = "stopped"


class Reception(models.Model):
    """Data of an exchange came without a longer pause in `[from_ms, to_ms]`, our clock, ms UTC.

    `ended` is `stopped` where somebody stopped or paused it then; empty while data comes, and where it ceased
    unasked, of which `cause` tells why. `looked_ms`: when the stream was last looked at; `epoch`: of its lease then.
    """

    exchange = models.ForeignKey("exchanges.Exchange", models.CASCADE)
    from_ms = models.BigIntegerField()
    to_ms = models.BigIntegerField()
    looked_ms = models.BigIntegerField()
    epoch = models.BigIntegerField(null=True)
    ended = models.CharField(max_length=8, blank=True)
    cause = models.CharField(max_length=300, blank=True)

    class Meta:
        db_table = "receptions"
        constraints = [models.UniqueConstraint(fields=["exchange", "from_ms"], name="reception_once")]

    def __str__(self) -> str:
        return f"{self.exchange_id} {self.from_ms}–{self.to_ms}"


class Activity(models.Model):
    """Something that happened to an exchange and will not change: an edge of its stream, or a command that ended."""

    exchange = models.ForeignKey("exchanges.Exchange", models.CASCADE)
    key = models.CharField(max_length=64)
    at_ms = models.BigIntegerField()
    kind = models.CharField(max_length=10)
    what = models.CharField(max_length=100)
    actor = models.CharField(max_length=200, blank=True)
    detail = models.TextField(blank=True)
    host = models.CharField(max_length=200, blank=True)
    epoch = models.BigIntegerField(null=True)

    class Meta:
        db_table = "activity"
        constraints = [models.UniqueConstraint(fields=["exchange", "key"], name="activity_once")]
        indexes = [models.Index(fields=["exchange", "-at_ms"], name="activity_newest")]

    def __str__(self) -> str:
        return f"{self.exchange_id} {self.kind} {self.what}"
