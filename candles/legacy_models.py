"""How far the migration from the predecessor's keys is, exchange by exchange, and who changed that when."""

from __future__ import annotations

from django.db import models

from exchanges.models import Exchange


class Mode(models.TextChoices):
    """Who writes where. Reads look into the predecessor's keys before the cut-over only."""

    LEGACY = "legacy", "legacy: the predecessor writes its keys, we ours"
    DUAL = "dual", "dual: we write both"
    SHARED = "shared", "shared: we write ours"
    DONE = "done", "done: the predecessor's keys are gone"


class LegacyMigration(models.Model):
    """One exchange's migration. `clean_keys` of `checked_keys` were whole in our keys at `verified_at`."""

    exchange = models.OneToOneField(Exchange, models.CASCADE, primary_key=True, related_name="legacy_migration")
    number = models.PositiveIntegerField(
        unique=True, help_text="The exchange's number in the predecessor's keys, candles:{user}:{number}:…"
    )
    mode = models.CharField(max_length=8, choices=Mode.choices, default=Mode.LEGACY, editable=False)
    checked_keys = models.PositiveIntegerField(default=0, editable=False)
    clean_keys = models.PositiveIntegerField(default=0, editable=False)
    verified_at = models.DateTimeField(null=True, editable=False)
    cut_over_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        db_table = "legacy_migrations"
        ordering = ["exchange"]

    def __str__(self) -> str:
        return f"{self.exchange_id}: {self.mode}"


class LegacyModeChange(models.Model):
    """One change of a mode; rows are only ever added."""

    exchange = models.ForeignKey(Exchange, models.CASCADE)
    before = models.CharField(max_length=8)
    after = models.CharField(max_length=8)
    at = models.DateTimeField(auto_now_add=True)
    by = models.CharField(max_length=150)
    why = models.CharField(max_length=200)

    class Meta:
        db_table = "legacy_mode_changes"
        ordering = ["-at"]

    def __str__(self) -> str:
        return f"{self.exchange_id}: {self.before} → {self.after} by {self.by}"
