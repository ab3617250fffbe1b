"""The exchanges an operator edits, and users' accounts there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.utils import timezone

from exchanges.fields import ExactDecimalField
from exchanges.venue import Endpoint, Limits
from livermore.core.candle import Timeframe

_EPOCH = datetime.fromtimestamp(0, UTC)


def all_timeframes() -> list[str]:
    """Every timeframe that exists, as a fresh list."""
    return [str(t) for t in Timeframe]


def validate_timeframes(value: object) -> None:
    """Raises `ValidationError` unless `value` is a list of existing timeframes that holds 5m."""
    known = all_timeframes()
    if not isinstance(value, list) or not value or any(t not in known for t in value):
        raise ValidationError(f"must be a list taken from {' '.join(known)}; 1m does not exist")
    if str(Timeframe.M5) not in value:
        raise ValidationError("5m cannot be left out: every larger candle is folded from it")


def validate_geo_rules(value: object) -> None:
    """Raises `ValidationError` unless `value` is `{"countries": [ISO 3166-1], "subdivisions": [ISO 3166-2]}`."""
    if not isinstance(value, dict) or set(value) - {"countries", "subdivisions", "only_countries"}:
        raise ValidationError("must be an object with the keys countries, subdivisions, only_countries")
    for key, pattern in (("countries", 2), ("only_countries", 2), ("subdivisions", None)):
        codes = value.get(key, [])
        if not isinstance(codes, list) or any(not _is_code(c, pattern) for c in codes):
            example = '["US", "CA"]' if pattern else '["US-NY"]'
            raise ValidationError(f"{key} must be a list of upper-case ISO 3166 codes such as {example}")


_BOUNDS = {
    "topics_per_connection": (1, 10_000),
    "messages_per_second": (Decimal("0.01"), 1_000),
    "connects_per_5min": (1, 100_000),
    "connection_lifetime_s": (60, 30 * 86_400),
    "silence_s": (5, 3_600),
    "rest_weight": (1, 10_000_000),
    "rest_window_s": (1, 3_600),
    "taker_fee_bps": (-100, 1_000),
    "maker_fee_bps": (-100, 1_000),
    "tier1_size": (1, 10_000),
}
"""Outside these an edit is a slip: it would kill the stream or make a signal's costs absurd."""


def _is_code(code: object, length: int | None) -> bool:
    if not isinstance(code, str) or code != code.upper():
        return False
    country, dash, region = code.partition("-")
    if length:
        return not dash and len(country) == length and country.isalpha()
    return bool(dash) and len(country) == 2 and country.isalpha() and region.isalnum()


def _is_template(text: str) -> bool:
    try:
        text.format(base="", quote="", native="")
    except (KeyError, IndexError, ValueError, AttributeError):
        return False
    return True


class Exchange(models.Model):
    """An exchange: what an operator may correct. Facts of its protocol are code in its venue package."""

    slug = models.SlugField(primary_key=True, max_length=32, validators=[RegexValidator(r"^[a-z0-9_]+$")])
    title = models.CharField(max_length=64)
    enabled = models.BooleanField(default=True, help_text="May be started at all.")
    rest_url = models.URLField(help_text="Base address of the REST API.")
    ws_url = models.CharField(
        max_length=200, blank=True, help_text="Base address of the stream; empty where the venue tells it by REST."
    )
    docs_url = models.URLField(blank=True)
    terms_url = models.URLField(blank=True)
    home_url = models.CharField(
        max_length=200, blank=True, help_text="Page of one market; {base} {quote} {native} are replaced."
    )
    timeframes = models.JSONField(default=all_timeframes, validators=[validate_timeframes])

    topics_per_connection = models.PositiveIntegerField(validators=[MinValueValidator(1)])
    messages_per_second = ExactDecimalField(help_text="Control messages we send, per connection.")
    connects_per_5min = models.PositiveIntegerField(validators=[MinValueValidator(1)])
    connection_lifetime_s = models.PositiveIntegerField(null=True, blank=True)
    silence_s = models.PositiveIntegerField(default=60, help_text="A connection without any frame for so long is dead.")
    rest_weight = models.PositiveIntegerField(help_text="REST weight per window, for one egress address.")
    rest_window_s = models.PositiveIntegerField(default=60)
    limits_verified_at = models.DateField(null=True, blank=True)
    limits_source_url = models.URLField(blank=True)

    taker_fee_bps = ExactDecimalField()
    maker_fee_bps = ExactDecimalField()
    tier1_size = models.PositiveIntegerField(default=100, validators=[MinValueValidator(1)])
    merges_usd_usdc = models.BooleanField(default=False, help_text="USD and USDC markets are one book here.")

    geo_rules = models.JSONField(default=dict, blank=True, validators=[validate_geo_rules])
    geo_paused = models.BooleanField(default=False, help_text="Refuse everywhere until someone has looked.")
    geo_alternative = models.ForeignKey("self", models.SET_NULL, null=True, blank=True)
    geo_verified_at = models.DateField(null=True, blank=True)
    geo_source_url = models.URLField(blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "exchanges"
        ordering = ["slug"]
        constraints = [
            models.CheckConstraint(condition=models.Q(topics_per_connection__gte=1), name="exchange_topics_positive"),
            models.CheckConstraint(condition=models.Q(tier1_size__gte=1), name="exchange_tier1_positive"),
        ]

    def __str__(self) -> str:
        return self.title

    def clean(self) -> None:
        """What no single field can tell; each error stands beside its field."""
        errors = {}
        if self.geo_rules is None or self.geo_rules == "":
            self.geo_rules = {}  # an emptied form field
        elif not isinstance(self.geo_rules, dict):
            errors["geo_rules"] = "must be an object with the keys countries, subdivisions, only_countries"
        for name, (low, high) in _BOUNDS.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                errors[name] = f"must be between {low} and {high}"
        if self.ws_url and not self.ws_url.startswith(("ws://", "wss://")):
            errors["ws_url"] = "must begin with ws:// or wss://"
        if self.geo_alternative_id and self.geo_alternative_id == self.slug:
            errors["geo_alternative"] = "an exchange is no alternative to itself"
        if not _is_template(self.home_url):
            errors["home_url"] = "may hold {base}, {quote} and {native}, and no other braces"
        elif self.home_url and not self.home_url.startswith(("https://", "http://")):
            errors["home_url"] = "must begin with https:// or http://"
        if errors:
            raise ValidationError(errors)

    def endpoint(self) -> Endpoint:
        """The addresses in use: EXCHANGE_ENDPOINTS wins over the row."""
        override = settings.EXCHANGE_ENDPOINTS.get(self.slug, {})
        rest, ws = override.get("rest") or self.rest_url, override.get("ws") or self.ws_url
        return Endpoint(rest=rest.rstrip("/"), ws=ws.rstrip("/"))

    @property
    def is_endpoint_overridden(self) -> bool:
        """Does the environment replace this row's addresses?"""
        return bool(settings.EXCHANGE_ENDPOINTS.get(self.slug))

    @property
    def config_version(self) -> int:
        """Which edit of the row this is: when it was saved, in ms UTC; 0 before the first time."""
        return (self.updated_at - _EPOCH) // timedelta(milliseconds=1) if self.updated_at else 0

    def limits(self) -> Limits:
        """The limits a session must keep."""
        return Limits(
            topics_per_connection=self.topics_per_connection,
            messages_per_second=float(self.messages_per_second),
            connection_lifetime_s=self.connection_lifetime_s,
            silence_s=float(self.silence_s),
        )


class KeyState(models.TextChoices):
    """How reading a user's account goes."""

    NEW = "new", "not yet read"
    READ = "read", "read"
    FAILING = "failing", "could not be read; tried again"
    REFUSED = "refused", "refused; not tried until it is edited"


class UserExchange(models.Model):
    """A user's account at an exchange: read-only API credentials, encrypted at rest."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    exchange = models.ForeignKey(Exchange, models.PROTECT)
    label = models.CharField(max_length=64, blank=True)
    credentials = models.BinaryField(editable=False, default=bytes)
    is_trading_acknowledged = models.BooleanField(
        default=False, help_text="The key can trade, and its owner accepts that; otherwise such a key is refused."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    state = models.CharField(max_length=8, choices=KeyState.choices, default=KeyState.NEW, editable=False)
    state_why = models.CharField(max_length=300, blank=True, editable=False)
    tried_at = models.DateTimeField(null=True, editable=False)
    read_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        db_table = "user_exchanges"
        constraints = [models.UniqueConstraint(fields=["user", "exchange", "label"], name="user_exchange_once")]

    def __str__(self) -> str:
        return f"{self.user} at {self.exchange_id}" + (f" ({self.label})" if self.label else "")

    def ask_again(self) -> None:
        """Somebody has changed something: what was refused may be tried once more. Must be saved."""
        self.state, self.state_why = KeyState.NEW, ""


class Drift(models.Model):
    """Where an exchange's row, or what we knew of its symbols, and what the venue says were not the same.

    `what` names it, `ours` and `theirs` are for people; `changes` are the fields of the row that accepting theirs
    writes. Open until somebody settles it.
    """

    class Decision(models.TextChoices):
        """How it was settled: theirs was taken, ours stays, the sync took theirs, both are the same again."""

        ACCEPTED = "accepted"
        KEPT = "kept"
        SYNCED = "synced"
        GONE = "gone"

    exchange = models.ForeignKey(Exchange, models.CASCADE, related_name="drifts")
    what = models.CharField(max_length=80)
    ours = models.CharField(max_length=200)
    theirs = models.CharField(max_length=200)
    changes = models.JSONField(default=dict, blank=True, editable=False)
    seen_at = models.DateTimeField(default=timezone.now)
    settled_at = models.DateTimeField(null=True, blank=True)
    settled_by = models.CharField(max_length=150, blank=True)
    decision = models.CharField(max_length=8, blank=True, choices=Decision)

    class Meta:
        ordering = [models.F("settled_at").desc(nulls_first=True), "-seen_at", "-pk"]
        verbose_name_plural = "drift of exchanges' metadata"
        constraints = [
            models.UniqueConstraint(
                fields=["exchange", "what"], condition=models.Q(settled_at=None), name="drift_open_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.exchange_id} {self.what}: ours {self.ours}, theirs {self.theirs}"
