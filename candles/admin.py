"""Candles, gaps and signals to look at; nothing of them is edited by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.http import HttpRequest
from django.utils.functional import cached_property

from candles.models import Candle, Gap, Mismatch, Signal

COUNTED_ROWS = 10_000


class BoundedPaginator(Paginator):
    """Counts no further than `COUNTED_ROWS`: nobody turns to page 40,000, and counting millions is slow."""

    @cached_property
    def count(self) -> int:
        """How many rows there are, up to the bound."""
        return self.object_list.order_by()[:COUNTED_ROWS].count()


class ReadOnlyAdmin(admin.ModelAdmin):
    """A table of conclusions, too large to count or to sort at will."""

    paginator = BoundedPaginator
    show_full_result_count = False
    sortable_by = ()
    list_per_page = 100

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Written by services only."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Written by services only."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Evidence is kept."""
        return False


@admin.register(Candle)
class CandleAdmin(ReadOnlyAdmin):
    """Closed candles, the newest recorded first."""

    list_display = (
        "symbol", "timeframe", "opened", "open", "high", "low", "close", "volume", "quality", "source", "revision",
    )  # fmt: skip
    list_filter = ("timeframe", "quality", "source", "symbol__exchange")
    list_select_related = ("symbol",)
    search_fields = ("=symbol__name",)
    search_help_text = "A whole name such as BTC-USDT."
    ordering = ("-id",)

    @admin.display(description="open (UTC)")
    def opened(self, obj: Candle) -> str:
        """When the candle begins."""
        return _utc(obj.open_ms)


@admin.register(Gap)
class GapAdmin(ReadOnlyAdmin):
    """Intervals in which trades may be missing; open ones have no closing time."""

    list_display = ("exchange", "symbol", "cause", "began", "ended", "opened_at", "closed_at", "method", "proof")
    list_filter = ("exchange", "cause", ("closed_at", admin.EmptyFieldListFilter))
    list_select_related = ("exchange",)
    search_fields = ("=symbol", "=connection")
    ordering = ("-id",)

    @admin.display(description="from (UTC)")
    def began(self, obj: Gap) -> str:
        """The last moment that is known to be complete."""
        return _utc(obj.from_ns // 1_000_000)

    @admin.display(description="to (UTC)")
    def ended(self, obj: Gap) -> str:
        """The first moment that is known to be complete again."""
        return _utc(obj.to_ns // 1_000_000)


@admin.register(Mismatch)
class MismatchAdmin(ReadOnlyAdmin):
    """Candles that differed from the venue's own, the newest first; open ones have not been mended."""

    list_display = ("symbol", "timeframe", "opened", "differs", "found_at", "mended_at", "method")
    list_filter = ("symbol__exchange", ("mended_at", admin.EmptyFieldListFilter))
    list_select_related = ("symbol",)
    search_fields = ("=symbol__name",)
    search_help_text = "A whole name such as BTC-USDT."
    ordering = ("-id",)

    @admin.display(description="open (UTC)")
    def opened(self, obj: Mismatch) -> str:
        """When the candle begins."""
        return _utc(obj.open_ms)

    @admin.display(description="ours → the venue's")
    def differs(self, obj: Mismatch) -> str:
        """Each field with both values."""
        return ", ".join(f"{name} {ours} → {theirs}" for name, (ours, theirs) in obj.fields.items())


@admin.register(Signal)
class SignalAdmin(ReadOnlyAdmin):
    """Cross-exchange events, the newest first."""

    list_display = ("base", "kind", "phase", "direction", "leader", "follower", "opened", "outcome")
    # Only related tables: a filter of a plain column would select its distinct values from all rows.
    list_filter = ("leader", "follower")
    list_select_related = ("leader", "follower")
    search_fields = ("=base", "=kind", "=phase")
    search_help_text = "A base, a kind or a phase, such as BTC or LEADER_MOVE."
    ordering = ("-opened_ms",)

    def get_queryset(self, request: HttpRequest) -> Any:
        """The list does not show the event's whole JSON."""
        is_list = request.resolver_match is not None and request.resolver_match.url_name.endswith("_changelist")
        rows = super().get_queryset(request)
        return rows.defer("event") if is_list else rows

    @admin.display(description="opened (UTC)")
    def opened(self, obj: Signal) -> str:
        """When the event began, by the exchanges' clocks."""
        return _utc(obj.opened_ms)


def _utc(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
