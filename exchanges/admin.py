"""The operator's desk for exchanges."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.db import models, transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html

from exchanges import command as commands
from exchanges import control, observed, registry
from exchanges.account_admin import UserExchangeAdmin
from exchanges.drift_admin import DriftAdmin
from exchanges.metadata import GEO_RULES_LAST_DAYS
from exchanges.models import Exchange
from livermore import orders
from livermore.core.errors import LivermoreError, StoreUnavailable
from symbols import tasks as symbol_tasks

__all__ = ["DriftAdmin", "ExchangeAdmin", "UserExchangeAdmin"]

_LISTED_DEPENDANTS = 50
_OBSERVED = ("stream", "configuration", "endpoint_in_use", "is_endpoint_overridden", "open_drift")
_DESCRIPTIONS = {
    control.Verb.START: "Start streaming",
    control.Verb.STOP: "Stop streaming",
    control.Verb.PAUSE: "Pause streaming",
    control.Verb.RESUME: "Resume streaming",
    control.Verb.RELOAD: "Reload row and symbols",
    control.Verb.ROLL: "Roll: replace every connection",
    control.Verb.BACKFILL: "Backfill streamed symbols",
    control.Verb.RECONCILE: "Reconcile streamed symbols",
    control.Verb.REFRESH: "Refresh symbols and Tier 1",
}


class OrderForm(helpers.ActionForm):
    """The choice of an action, with a key of its own on every page that offers it."""

    order_key = forms.CharField(widget=forms.HiddenInput, required=False, initial=partial(secrets.token_hex, 8))


def _commanding(verb: control.Verb) -> Callable[..., None]:
    """The action that sends this command to the chosen exchanges."""

    def act(modeladmin: ExchangeAdmin, request: HttpRequest, queryset: QuerySet[Exchange]) -> None:
        for exchange in queryset:
            modeladmin.command(request, exchange, verb)

    act.__name__ = str(verb)
    return admin.action(description=_DESCRIPTIONS[verb], permissions=["change"])(act)


@admin.register(Exchange)
class ExchangeAdmin(admin.ModelAdmin):
    """Facts an operator may correct; what the stream host observes is shown and cannot be edited."""

    list_display = (
        "title", "slug", "enabled", "geo_paused", "geo_checked", "tier1_size", "limits_verified_at",
    )  # fmt: skip
    list_filter = ("enabled", "geo_paused")
    search_fields = ("slug", "title")
    formfield_overrides = {models.URLField: {"assume_scheme": "https"}}
    actions = (*(_commanding(verb) for verb in control.Verb), "sync_symbols", "refresh_tier1")
    action_form = OrderForm
    fieldsets = (
        (None, {"fields": ("slug", "title", "enabled")}),
        ("Observed", {"fields": _OBSERVED}),
        ("Addresses", {"fields": ("rest_url", "ws_url", "docs_url", "terms_url", "home_url")}),
        (
            "Limits",
            {
                "fields": (
                    "topics_per_connection", "messages_per_second", "connects_per_5min", "connection_lifetime_s",
                    "silence_s", "rest_weight", "rest_window_s", "limits_verified_at", "limits_source_url",
                )
            },
        ),
        ("Candles and Tier 1", {"fields": ("timeframes", "tier1_size", "merges_usd_usdc")}),
        ("Fees", {"fields": ("taker_fee_bps", "maker_fee_bps")}),
        (
            "Geography",
            {
                "description": 'Countries as ["US"], subdivisions as ["US-NY"]; only_countries excludes all others.',
                "fields": ("geo_rules", "geo_paused", "geo_alternative", "geo_verified_at", "geo_source_url"),
            },
        ),
    )  # fmt: skip

    def get_readonly_fields(self, request: HttpRequest, obj: Exchange | None = None) -> tuple[str, ...]:
        """The slug names keys and rows elsewhere, so it never changes."""
        return _OBSERVED if obj is None else ("slug", *_OBSERVED)

    def get_form(self, request: HttpRequest, obj: Exchange | None = None, change: bool = False, **kwargs: Any) -> Any:
        """A new exchange is one that has an adapter, ours or an installed package's, and no row."""
        form = super().get_form(request, obj, change=change, **kwargs)
        if obj is None:
            taken = set(Exchange.objects.values_list("slug", flat=True))
            free = [(slug, slug) for slug in registry.slugs() if slug not in taken]
            form.base_fields["slug"].widget = forms.Select(choices=[("", "—"), *free])
        return form

    @admin.display(description="stream")
    def stream(self, obj: Exchange) -> str:
        """What the stream host last said, and how long ago."""
        if not obj.slug:
            return "—"
        try:
            said = observed.stream_state(obj.slug)
        except StoreUnavailable as error:
            return f"unknown: {error}"
        if not said:
            return "no stream host has reported for half a minute"
        age_s = time.time() - int(said.get("updated_ms") or 0) / 1000
        reason = f" ({said['reason']})" if said.get("reason") else ""
        return f"{said.get('state', 'unknown')}{reason}, {age_s:.0f} s ago, by host {said.get('host') or '—'}"

    @admin.display(description="this configuration")
    def configuration(self, obj: Exchange) -> str:
        """Does the stream host work with the row as it is saved here?"""
        try:
            told = observed.stream_state(obj.slug).get("config_version") if obj.slug else ""
        except StoreUnavailable:
            told = ""
        if not told:
            return f"version {obj.config_version}; no stream host says which one it has"
        if int(told) >= obj.config_version:
            return f"version {obj.config_version}: applied"
        return f"version {obj.config_version}: not yet, the stream host has {told}"

    @admin.display(description="the venue says otherwise")
    def open_drift(self, obj: Exchange) -> str:
        """What waits to be settled, and where."""
        waiting = obj.drifts.filter(settled_at=None) if obj.slug else []
        if not waiting:
            return "—"
        said = "; ".join(f"{d.what}: ours {d.ours}, theirs {d.theirs}" for d in waiting)
        return format_html('{} <a href="{}?state=open">settle</a>', said, reverse("admin:exchanges_drift_changelist"))

    @admin.display(description="geography verified", ordering="geo_verified_at")
    def geo_checked(self, obj: Exchange) -> str:
        """When somebody last compared the rules with their source; they change often."""
        if obj.geo_verified_at is None:
            return "never: look at its source"
        age_days = (timezone.localdate() - obj.geo_verified_at).days
        advice = ": look again" if age_days > GEO_RULES_LAST_DAYS else ""
        return f"{obj.geo_verified_at}, {age_days} days ago{advice}"

    @admin.display(description="addresses in use")
    def endpoint_in_use(self, obj: Exchange) -> str:
        """REST and stream as the adapters see them."""
        return f"{obj.endpoint().rest}  {obj.endpoint().ws or '(told by REST)'}" if obj.slug else "—"

    @admin.display(description="replaced by EXCHANGE_ENDPOINTS", boolean=True)
    def is_endpoint_overridden(self, obj: Exchange) -> bool:
        """Does the environment win over this row?"""
        return obj.is_endpoint_overridden

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Children protect an exchange; they are listed even where nobody may delete them by hand."""
        to_delete, counts, lacking, protected = super().get_deleted_objects(objs, request)
        if len(protected) > _LISTED_DEPENDANTS:
            rest = len(protected) - _LISTED_DEPENDANTS
            protected = [*protected[:_LISTED_DEPENDANTS], f"… and {rest:,} more"]
        return to_delete, counts, set() if protected else lacking, protected

    @admin.action(description="Sync symbols now", permissions=["change"])
    def sync_symbols(self, request: HttpRequest, queryset: QuerySet[Exchange]) -> None:
        """Asks the venue for its instruments, even where nothing streams."""
        self._enqueue(request, queryset, symbol_tasks.sync)

    @admin.action(description="Refresh Tier 1 now", permissions=["change"])
    def refresh_tier1(self, request: HttpRequest, queryset: QuerySet[Exchange]) -> None:
        """Asks the venue for its turnovers, even where nothing streams."""
        self._enqueue(request, queryset, symbol_tasks.refresh_tier1)

    def command(self, request: HttpRequest, exchange: Exchange, verb: control.Verb) -> None:
        """Send one durable command and say as which; sent twice from one page it is one command."""
        if verb is control.Verb.START and not exchange.enabled:
            messages.error(request, f"{exchange} is disabled: enable it first")
            return
        began_ms = commands.now_ms()
        try:
            command = orders.order(
                exchange.slug, verb, issued_by=request.user.get_username(),
                idempotency_key=request.POST.get("order_key", ""),
            )  # fmt: skip
            issued_ms = int(commands.stored(command).get("issued_ms", began_ms))
        except LivermoreError as error:
            messages.error(request, f"{exchange}: {error}")
        else:
            said = "sent" if issued_ms >= began_ms else "was sent from this page before and is not sent again,"
            messages.info(request, f"{exchange}: {verb} {said} as command {command}")

    def _enqueue(self, request: HttpRequest, queryset: QuerySet[Exchange], task: Any) -> None:
        for exchange in queryset:
            transaction.on_commit(partial(task.delay, exchange.slug))
            messages.info(request, f"{exchange}: {task.name} enqueued")
