"""Which symbols exist at each exchange, and which of them users follow."""

from __future__ import annotations

from collections.abc import Collection

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils import timezone

from exchanges.fields import ExactDecimalField
from exchanges.models import Exchange, UserExchange
from livermore.core.errors import InvalidInput
from livermore.core.symbol import Symbol

DOLLAR_COIN_MARKETS = ("USDT-USD", "USDC-USD")


class ExchangeSymbolQuerySet(models.QuerySet):
    """Reads of symbols; each is one query."""

    def trading(self) -> ExchangeSymbolQuerySet:
        """Symbols the venue trades now."""
        return self.filter(is_trading=True)

    def tier1(self) -> ExchangeSymbolQuerySet:
        """The shared pool: top N by volume."""
        return self.trading().filter(tier=1)

    def streamed(self) -> ExchangeSymbolQuerySet:
        """Tier 1, whatever has a live subscription, and the dollar coins' own markets.

        The last are no Tier 1 (their turnover says nothing of interest), but without their prices no
        market in USDT can be compared with one in USD.
        """
        live = Q(pk__in=UserSymbolSubscription.objects.live().values("symbol_id"))
        return self.trading().filter(Q(tier=1) | Q(name__in=DOLLAR_COIN_MARKETS) | live)


class ExchangeSymbol(models.Model):
    """One market of one exchange. `name` is canonical; `native` is what the venue calls it."""

    exchange = models.ForeignKey(Exchange, models.PROTECT, related_name="symbols")
    native = models.CharField(max_length=64)
    base = models.CharField(max_length=32)
    quote = models.CharField(max_length=32)
    name = models.CharField(max_length=65, editable=False)
    status = models.CharField(max_length=32, blank=True)
    is_trading = models.BooleanField(default=True)
    tick = ExactDecimalField(null=True, blank=True, help_text="Price step.")
    lot = ExactDecimalField(null=True, blank=True, help_text="Quantity step.")
    quote_precision = models.PositiveSmallIntegerField(null=True, blank=True)
    tier = models.PositiveSmallIntegerField(null=True, blank=True, choices=[(1, "Tier 1"), (2, "Tier 2")])
    rank = models.PositiveIntegerField(null=True, blank=True)
    refreshes_below = models.PositiveSmallIntegerField(
        default=0, editable=False, help_text="Refreshes in a row that found this member of Tier 1 below the edge."
    )
    turnover_24h = ExactDecimalField(null=True, blank=True, help_text="In quote.")
    turnover_usd_24h = ExactDecimalField(null=True, blank=True)
    first_seen = models.DateTimeField(default=timezone.now, editable=False)
    last_seen = models.DateTimeField(default=timezone.now, editable=False)
    rename_of = models.ForeignKey("self", models.SET_NULL, null=True, blank=True)

    objects = ExchangeSymbolQuerySet.as_manager()

    class Meta:
        db_table = "exchange_symbols"
        ordering = ["exchange", "rank", "name"]
        constraints = [
            models.UniqueConstraint(fields=["exchange", "native"], name="symbol_native_once"),
            models.UniqueConstraint(
                fields=["exchange", "base", "quote"], condition=Q(is_trading=True), name="symbol_trading_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} at {self.exchange_id}"

    def clean(self) -> None:
        """Base and quote must make a canonical name; they are stored in upper case."""
        try:
            self.base, self.quote = Symbol.parse(f"{self.base}-{self.quote}")
        except InvalidInput as error:
            raise ValidationError({"base": str(error)}) from None

    def save(self, *args: object, **kwargs: object) -> None:
        """The canonical name is a function of base and quote."""
        self.name = f"{self.base}-{self.quote}"
        super().save(*args, **kwargs)  # type: ignore[arg-type]


class Tier1Refresh(models.Model):
    """What one refresh did to an exchange's Tier 1; `coverage` is its share of the turnover in dollars."""

    exchange = models.ForeignKey(Exchange, models.CASCADE, related_name="tier1_refreshes")
    at = models.DateTimeField()
    ranked = models.PositiveIntegerField()
    tier1 = models.PositiveIntegerField()
    entered = models.JSONField(default=list)
    left = models.JSONField(default=list)
    coverage = models.DecimalField(max_digits=5, decimal_places=4)

    class Meta:
        db_table = "tier1_refreshes"
        ordering = ["-at"]
        indexes = [models.Index(fields=["exchange", "-at"], name="tier1_refresh_by_time")]
        verbose_name_plural = "tier 1 refreshes"

    def __str__(self) -> str:
        return f"Tier 1 of {self.exchange_id} at {self.at:%Y-%m-%d %H:%M}"


class UserSymbolSubscriptionQuerySet(models.QuerySet):
    """Reads of subscriptions; each is one query."""

    def live(self) -> UserSymbolSubscriptionQuerySet:
        """Subscriptions that have not expired."""
        return self.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=timezone.now()))


class UserSymbolSubscription(models.Model):
    """A user follows a symbol; several reasons for the same symbol share one row."""

    SOURCES = ("position", "manual", "alert")  # strongest first

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="subscriptions")
    symbol = models.ForeignKey(ExchangeSymbol, models.CASCADE, related_name="subscriptions")
    source = models.CharField(max_length=16, choices=[(s, s) for s in SOURCES], default="manual")
    reasons = models.JSONField(default=list, blank=True, help_text="Every source that asks for this symbol.")
    expires_at = models.DateTimeField(null=True, blank=True)
    is_pinned = models.BooleanField(default=False)
    note = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = UserSymbolSubscriptionQuerySet.as_manager()

    class Meta:
        db_table = "user_symbol_subscriptions"
        constraints = [models.UniqueConstraint(fields=["user", "symbol"], name="subscription_once")]

    def __str__(self) -> str:
        return f"{self.user}: {self.symbol}"

    def clean(self) -> None:
        """`reasons` must name known sources; none given means the one of `source`."""
        unknown = set(self.reasons or []) - set(self.SOURCES)
        if unknown:
            raise ValidationError({"reasons": f"accepted: {', '.join(self.SOURCES)}"})
        self.set_reasons(set(self.reasons or [self.source]))

    def set_reasons(self, reasons: Collection[str]) -> None:
        """Take these reasons, strongest first; the strongest becomes the row's source."""
        self.reasons = [s for s in self.SOURCES if s in reasons]
        self.source = next(iter(self.reasons), self.source)


class Position(models.Model):
    """What a user holds of one asset at one exchange, as its account or a file said last.

    Positions are shown as they are: nothing adds up those of different exchanges. `symbol` is the market followed for
    it; none for cash, dust and what is not traded. That reason ends at `until`, which every reading moves on (a file's
    may be without end).
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="positions")
    exchange = models.ForeignKey(Exchange, models.PROTECT, related_name="positions")
    account = models.ForeignKey(
        UserExchange, models.CASCADE, null=True, blank=True, related_name="positions", help_text="None: from a file."
    )
    asset = models.CharField(max_length=32, help_text="As the exchange calls it.")
    free = ExactDecimalField(null=True, blank=True)
    locked = ExactDecimalField(null=True, blank=True)
    symbol = models.ForeignKey(ExchangeSymbol, models.SET_NULL, null=True, blank=True, related_name="positions")
    value_usd = ExactDecimalField(null=True, blank=True, help_text="About, by the last hour's price.")
    valued_at = models.DateTimeField(null=True, blank=True)
    seen_at = models.DateTimeField(default=timezone.now)
    until = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "positions"
        ordering = ["user", "exchange", "asset"]
        constraints = [
            models.UniqueConstraint(fields=["account", "asset"], name="position_of_account_once"),
            models.UniqueConstraint(
                fields=["user", "exchange", "asset", "symbol"],
                condition=Q(account__isnull=True),
                name="position_of_file_once",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.asset} of {self.user_id} at {self.exchange_id}"
