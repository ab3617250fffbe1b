"""The operator's desk for symbols and for who follows them."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest

from symbols import services, tasks
from symbols.models import ExchangeSymbol, Tier1Refresh, UserSymbolSubscription
from symbols.position_admin import PositionAdmin

__all__ = ["ExchangeSymbolAdmin", "PositionAdmin", "UserSymbolSubscriptionAdmin"]

_BY_HAND = ("exchange", "native", "base", "quote", "is_trading")
_FROM_VENUE = ("status", "tick", "lot", "quote_precision")
_BY_RANKING = ("tier", "rank", "turnover_24h", "turnover_usd_24h")


class SymbolForm(forms.ModelForm):
    """A symbol goes on for one that ended at the same exchange."""

    def clean_rename_of(self) -> ExchangeSymbol | None:
        """Raises `ValidationError` for a symbol of another exchange, for itself, and for one that trades."""
        former: ExchangeSymbol | None = self.cleaned_data["rename_of"]
        if former is None or "rename_of" not in self.changed_data:
            return former
        exchange_id = self.instance.exchange_id or getattr(self.cleaned_data.get("exchange"), "pk", None)
        if former.exchange_id != exchange_id or former.pk == self.instance.pk or former.is_trading:
            raise ValidationError("Name a symbol of the same exchange that trades no more.")
        return former


@admin.register(ExchangeSymbol)
class ExchangeSymbolAdmin(admin.ModelAdmin):
    """Symbols come from the venues' lists; by hand one may be added, and a rename recorded."""

    form = SymbolForm
    list_display = ("name", "exchange", "native", "tier", "rank", "turnover_usd_24h", "is_trading", "last_seen")
    list_filter = ("exchange", "tier", "is_trading")
    list_select_related = ("exchange",)
    search_fields = ("^name", "^native")
    # Turnover is text on SQLite and would sort as text; the rank sorts the same way and is a number.
    sortable_by = ("name", "exchange", "native", "tier", "rank", "is_trading", "last_seen")
    show_full_result_count = False
    raw_id_fields = ("rename_of",)
    fieldsets = (
        (None, {"fields": (*_BY_HAND, "rename_of")}),
        ("As the venue says", {"fields": (*_FROM_VENUE, "first_seen", "last_seen")}),
        ("Ranking", {"fields": _BY_RANKING}),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: ExchangeSymbol | None = None) -> tuple[str, ...]:
        """What sync and ranking write is not edited; identity only when a symbol is added."""
        written = (*_FROM_VENUE, "first_seen", "last_seen", *_BY_RANKING)
        return written if obj is None else (*_BY_HAND, *written)

    def save_model(self, request: HttpRequest, obj: ExchangeSymbol, form: forms.ModelForm, change: bool) -> None:
        """A rename recorded by hand hands the history over; the operator's word is proof enough."""
        super().save_model(request, obj, form, change)
        if obj.rename_of is not None and "rename_of" in form.changed_data:
            pair = (obj.rename_of.native, obj.native)
            transaction.on_commit(lambda: tasks.hand_over(obj.exchange_id, [pair], is_certain=True))

    def has_delete_permission(self, request: HttpRequest, obj: ExchangeSymbol | None = None) -> bool:
        """Candles hang on symbols; one that is no longer listed just stops trading."""
        return False


@admin.register(Tier1Refresh)
class Tier1RefreshAdmin(admin.ModelAdmin):
    """What each refresh of Tier 1 did: how much of the venue's turnover it covers, who came and who went."""

    list_display = ("exchange", "at", "tier1", "covers", "entered", "left")
    list_filter = ("exchange",)
    date_hierarchy = "at"

    @admin.display(description="of the venue's turnover", ordering="coverage")
    def covers(self, obj: Tier1Refresh) -> str:
        """Tier 1's share of the turnover in dollars."""
        return f"{obj.coverage:.1%}"

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refreshes write these rows."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """What happened is not edited."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """They are dropped by age."""
        return False


class SubscriptionForm(forms.ModelForm):
    """Reasons are ticked; the strongest becomes the source."""

    reasons = forms.MultipleChoiceField(
        choices=[(s, s) for s in UserSymbolSubscription.SOURCES],
        widget=forms.CheckboxSelectMultiple,
        initial=["manual"],
    )

    class Meta:
        model = UserSymbolSubscription
        fields = ("user", "symbol", "reasons", "expires_at", "is_pinned", "note")


@admin.register(UserSymbolSubscription)
class UserSymbolSubscriptionAdmin(admin.ModelAdmin):
    """Who follows what, why, and until when."""

    form = SubscriptionForm
    list_display = ("user", "symbol", "source", "expires_at", "is_pinned", "note")
    list_filter = ("source", "symbol__exchange", "is_pinned")
    list_select_related = ("user", "symbol")
    search_fields = ("user__username", "^symbol__name")
    autocomplete_fields = ("user", "symbol")
    readonly_fields = ("source",)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """The source is shown once it exists."""
        return (*self.form.Meta.fields, "source") if obj else self.form.Meta.fields

    def delete_model(self, request: HttpRequest, obj: UserSymbolSubscription) -> None:
        """As for a user who takes the last reason away: a symbol nobody follows leaves its tier."""
        services.drop(UserSymbolSubscription.objects.filter(pk=obj.pk))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[UserSymbolSubscription]) -> None:
        """The same for many."""
        services.drop(queryset)
