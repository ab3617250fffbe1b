"""What we have concluded: candles, gaps, mismatches, signals; and batches that we could not take."""

from __future__ import annotations

from django.db import models

from candles.legacy_models import LegacyMigration, LegacyModeChange  # noqa: F401 (Django looks for them here)
from exchanges.fields import ExactDecimalField
from exchanges.models import Exchange
from livermore.core.candle import Candle as CandleValue
from livermore.core.candle import Quality, Reason, Source, Timeframe
from livermore.core.gap import Cause
from symbols.models import ExchangeSymbol


class CandleQuerySet(models.QuerySet):
    """Reads of stored candles."""

    def of(self, exchange: str, symbol: str, timeframe: str) -> CandleQuerySet:
        """One series, newest first."""
        return self.filter(symbol__exchange_id=exchange, symbol__name=symbol, timeframe=timeframe).order_by("-open_ms")


class Candle(models.Model):
    """A closed candle. Written only by `candles.services.record`, whose upsert is monotone.

    `(source_rank, evidence, confirmed, quality_rank, repeated)` orders two versions of the same candle: how far its
    source is trusted, how many executions it is made of, how many of those the venue's REST confirmed, how good
    its quality is, and how many executions a stream brought more often than once.

    `first_id` and `last_id` are those of its trades, where the venue numbers them. `checked_ms`: when it was
    last compared with the venue's kline. `differed` and `differs` are masks of `compare.FIELDS`: what differed
    the first time, and what differs since the last; None before.
    """

    symbol = models.ForeignKey(ExchangeSymbol, models.PROTECT, related_name="candles")
    timeframe = models.CharField(max_length=4, choices=[(str(t), str(t)) for t in Timeframe])
    open_ms = models.BigIntegerField()
    open = ExactDecimalField()
    high = ExactDecimalField()
    low = ExactDecimalField()
    close = ExactDecimalField()
    volume = ExactDecimalField()
    turnover = ExactDecimalField(null=True)
    taker_buy_volume = ExactDecimalField(null=True)
    trades = models.BigIntegerField(null=True)
    source = models.CharField(max_length=8, choices=[(str(s), str(s)) for s in Source])
    quality = models.CharField(max_length=8, choices=[(str(q), str(q)) for q in Quality])
    reason = models.CharField(max_length=12, blank=True, choices=[(str(r), str(r)) for r in Reason])
    parts = models.SmallIntegerField(null=True)
    revision = models.PositiveIntegerField(default=0)
    source_rank = models.SmallIntegerField(default=0)
    evidence = models.BigIntegerField(default=0)
    confirmed = models.BigIntegerField(default=0)
    repeated = models.BigIntegerField(db_default=0)
    first_id = models.BigIntegerField(null=True)
    last_id = models.BigIntegerField(null=True)
    quality_rank = models.SmallIntegerField(default=0)
    recorded_ms = models.BigIntegerField(default=0)
    checked_ms = models.BigIntegerField(db_default=0)
    differed = models.SmallIntegerField(null=True)
    differs = models.SmallIntegerField(null=True)

    objects = CandleQuerySet.as_manager()

    class Meta:
        db_table = "candles"
        constraints = [models.UniqueConstraint(fields=["symbol", "timeframe", "open_ms"], name="candle_once")]
        indexes = [
            models.Index(fields=["timeframe", "open_ms"], name="candle_by_time"),
            models.Index(
                fields=["symbol", "timeframe", "open_ms"],
                condition=models.Q(source="trades")
                & (models.Q(recorded_ms__gt=models.F("checked_ms")) | models.Q(differs__gt=0)),
                name="candle_unchecked",
            )
        ]

    def __str__(self) -> str:
        return f"{self.symbol} {self.timeframe} {self.open_ms}"

    def value(self, exchange: str, symbol: str) -> CandleValue:
        """The row as a value; the names are passed in so that reading a series needs no join per row."""
        return CandleValue(
            exchange=exchange,
            symbol=symbol,
            timeframe=Timeframe(self.timeframe),
            open_ms=self.open_ms,
            open=self.open,
            high=self.high,
            low=self.low,
            close=self.close,
            volume=self.volume,
            turnover=self.turnover,
            taker_buy_volume=self.taker_buy_volume,
            trades=self.trades,
            revision=self.revision,
            source=Source(self.source),
            quality=Quality(self.quality),
            reason=Reason(self.reason) if self.reason else None,
            parts=self.parts,
        )


class Gap(models.Model):
    """An interval in which trades may be missing; closed only by proof. No symbol means all of them."""

    exchange = models.ForeignKey(Exchange, models.PROTECT)
    symbol = models.CharField(max_length=65, blank=True)
    from_ns = models.BigIntegerField()
    to_ns = models.BigIntegerField()
    cause = models.CharField(max_length=12, choices=[(str(c), str(c)) for c in Cause])
    connection = models.CharField(max_length=32, blank=True)
    opened_at = models.DateTimeField(auto_now_add=True)
    closed_at = models.DateTimeField(null=True, blank=True)
    method = models.CharField(max_length=16, blank=True)
    proof = models.CharField(max_length=200, blank=True)

    class Meta:
        db_table = "gaps"
        constraints = [
            models.UniqueConstraint(fields=["exchange", "symbol", "connection", "from_ns", "to_ns"], name="gap_once")
        ]
        indexes = [models.Index(fields=["exchange", "closed_at"])]

    def __str__(self) -> str:
        return f"{self.exchange_id} {self.symbol or '*'} {self.cause}"


class Mismatch(models.Model):
    """A candle that differed from the venue's kline: what, when found, how it was mended.

    `fields`: name → [ours, the venue's] as plain text, as first found. It points at its candle by name, not
    by a foreign key, so that candles can be retired or kept in partitions.
    """

    symbol = models.ForeignKey(ExchangeSymbol, models.PROTECT)
    timeframe = models.CharField(max_length=4)
    open_ms = models.BigIntegerField()
    fields = models.JSONField()
    found_at = models.DateTimeField(auto_now_add=True)
    mended_at = models.DateTimeField(null=True, blank=True)
    method = models.CharField(max_length=16, blank=True)

    class Meta:
        db_table = "mismatches"
        constraints = [models.UniqueConstraint(fields=["symbol", "timeframe", "open_ms"], name="mismatch_once")]
        indexes = [models.Index(fields=["-found_at"])]

    def __str__(self) -> str:
        return f"{self.symbol} {self.timeframe} {self.open_ms}: {' '.join(self.fields)}"


class Signal(models.Model):
    """A cross-exchange event, from opening to outcome. `event` is the newest public form.

    `opening` is its first form: what caused it. `peak_bps`, `mfe_bps` and `mae_bps` are known once it is closed:
    what the scoreboard is computed from.
    """

    event_id = models.UUIDField(primary_key=True)
    kind = models.CharField(max_length=20)
    phase = models.CharField(max_length=10)
    base = models.CharField(max_length=32)
    direction = models.CharField(max_length=5)
    leader = models.ForeignKey(Exchange, models.PROTECT, related_name="led_signals")
    follower = models.ForeignKey(Exchange, models.PROTECT, related_name="followed_signals", null=True, blank=True)
    window_s = models.PositiveIntegerField(null=True)
    timeframe = models.CharField(max_length=4, blank=True, db_default="")
    identity = models.CharField(max_length=200, blank=True, db_default="")
    opened_ms = models.BigIntegerField()
    closed_ms = models.BigIntegerField(null=True)
    outcome = models.CharField(max_length=12, blank=True)
    duration_ms = models.BigIntegerField(null=True)
    peak_bps = models.FloatField(null=True)
    mfe_bps = models.FloatField(null=True)
    mae_bps = models.FloatField(null=True)
    event = models.JSONField()
    opening = models.JSONField(null=True)

    class Meta:
        db_table = "signals"
        ordering = ["-opened_ms"]
        indexes = [
            models.Index(fields=["-opened_ms"]),
            models.Index(fields=["kind", "base", "leader", "follower", "opened_ms"], name="signal_by_pair"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.base} {self.leader_id}→{self.follower_id}"


class QuarantinedBatch(models.Model):
    """A batch that killed its workers, or failed again and again: as it came, so that it can be tried again.

    `body` is the message body as msgpack; `frames` how many it holds; `received_ns` when the newest came;
    `error` what the last failure said, without secrets; `failures` how many there were. `tried_at`: when it was last
    asked to be tried again; `taken_at`: when that went well.
    """

    exchange = models.CharField(max_length=32)
    connection = models.CharField(max_length=32)
    number = models.BigIntegerField()
    received_ns = models.BigIntegerField()
    frames = models.PositiveIntegerField()
    body = models.BinaryField()
    error = models.TextField()
    failures = models.PositiveIntegerField()
    set_aside_at = models.DateTimeField()
    tried_at = models.DateTimeField(null=True, blank=True)
    taken_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "quarantined_batches"
        verbose_name_plural = "quarantined batches"
        constraints = [
            models.UniqueConstraint(fields=["exchange", "connection", "number"], name="quarantined_once"),
        ]
        indexes = [models.Index(fields=["exchange", "-set_aside_at"], name="quarantined_newest")]

    def __str__(self) -> str:
        return f"{self.exchange} {self.connection}:{self.number}"


class QuarantinedFrame(models.Model):
    """No table: the frames and trades that were set aside stand in Redis; this gives them a place in the admin."""

    class Meta:
        managed = False
        default_permissions = ("view",)


class Alert(models.Model):
    """An alert of an indicator, once for a label and a bar. `event` is the newest public form."""

    event_id = models.UUIDField(unique=True)
    exchange = models.ForeignKey(Exchange, models.PROTECT, related_name="alerts")
    symbol = models.CharField(max_length=65)
    timeframe = models.CharField(max_length=4)
    kind = models.CharField(max_length=20)
    label = models.CharField(max_length=32)
    open_ms = models.BigIntegerField()
    price = ExactDecimalField()
    raised_ms = models.BigIntegerField()
    event = models.JSONField()

    class Meta:
        db_table = "alerts"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["exchange", "symbol", "timeframe", "label", "open_ms"], name="alert_once")
        ]

    def __str__(self) -> str:
        return f"{self.exchange_id} {self.symbol} {self.timeframe} {self.label}"


class AlertMemory(models.Model):
    """What is remembered of a series between its bars (`candles.indicators.alerts.Memory`)."""

    exchange = models.ForeignKey(Exchange, models.CASCADE, related_name="+")
    symbol = models.CharField(max_length=65)
    timeframe = models.CharField(max_length=4)
    memory = models.JSONField()

    class Meta:
        db_table = "alert_memories"
        constraints = [models.UniqueConstraint(fields=["exchange", "symbol", "timeframe"], name="alert_memory_once")]

    def __str__(self) -> str:
        return f"{self.exchange_id} {self.symbol} {self.timeframe}"
