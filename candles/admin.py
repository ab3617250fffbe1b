"""Candles, gaps, signals and the quarantine to look at; nothing of them is edited by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.html import format_html, format_html_join
from kombu.exceptions import OperationalError

from candles import legacy_admin, tasks  # noqa: F401 (Django looks for registrations here)
from candles.models import Alert, Candle, Gap, Mismatch, QuarantinedBatch, QuarantinedFrame, Signal
from candles.services import quarantine
from candles.services.deliveries import ROW_HEADER
from exchanges import registry
from livermore.core.errors import StoreUnavailable

COUNTED_ROWS = 10_000
SHOWN_FRAMES, SHOWN_CHARACTERS = 20, 500


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


@admin.register(Alert)
class AlertAdmin(ReadOnlyAdmin):
    """Alerts on MACD-V, the newest first."""

    list_display = ("symbol", "exchange", "timeframe", "label", "opened", "price", "stands")
    list_filter = ("exchange",)
    list_select_related = ("exchange",)
    search_fields = ("=symbol", "=label")
    search_help_text = "A whole name such as BTC-USDT, or a label such as level_-200."
    ordering = ("-id",)

    @admin.display(description="bar (UTC)")
    def opened(self, obj: Alert) -> str:
        """The open of the bar that raised it."""
        return _utc(obj.open_ms)

    @admin.display(description="stands", boolean=True)
    def stands(self, obj: Alert) -> bool:
        """False where a revision of the bar took it back."""
        revised = obj.event["revised"]
        return revised is None or bool(revised["stands"])


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


@admin.register(QuarantinedBatch)
class QuarantinedBatchAdmin(ReadOnlyAdmin):
    """Batches that killed their workers or failed again and again, the newest first."""

    list_display = (
        "exchange", "connection", "number", "received", "frames", "failures", "why", "set_aside_at", "taken_at",
    )  # fmt: skip
    list_filter = ("exchange", ("taken_at", admin.EmptyFieldListFilter))
    search_fields = ("=connection",)
    ordering = ("-set_aside_at",)
    fields = readonly_fields = (
        "exchange", "connection", "number", "received", "failures", "set_aside_at", "tried_at", "taken_at",
        "whole_error", "frames", "raw_frames",
    )  # fmt: skip
    actions = ("try_again",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[QuarantinedBatch]:
        """The list needs no bodies."""
        return super().get_queryset(request).defer("body")

    def has_try_again_permission(self, request: HttpRequest) -> bool:
        """Who may change such rows, although not by hand."""
        return bool(request.user.has_perm("candles.change_quarantinedbatch"))

    @admin.action(description="Try again", permissions=["try_again"])
    def try_again(self, request: HttpRequest, queryset: QuerySet[QuarantinedBatch]) -> None:
        """Put the batches on their queues once more."""
        for row in queryset.defer(None):
            try:
                tasks.ingest_batch.apply_async(
                    (quarantine.body_of(row),), queue=f"ticks.{row.exchange}.0", serializer="msgpack",
                    headers={ROW_HEADER: row.pk}, retry=False,
                )  # fmt: skip
            except (OperationalError, OSError):
                self.message_user(request, f"{row}: the broker does not answer", messages.ERROR)
                return
            QuarantinedBatch.objects.filter(pk=row.pk).update(tried_at=timezone.now())
            self.log_change(request, row, "tried again")
            self.message_user(request, f"{row} is being tried again; its row says when it was taken.")

    @admin.display(description="received (UTC)")
    def received(self, obj: QuarantinedBatch) -> str:
        """When the newest of its frames came."""
        return _utc(obj.received_ns // 1_000_000)

    @admin.display(description="why")
    def why(self, obj: QuarantinedBatch) -> str:
        """The last line of the error."""
        return obj.error.strip().rpartition("\n")[2][:120]

    @admin.display(description="error")
    def whole_error(self, obj: QuarantinedBatch) -> str:
        """With its traceback."""
        return format_html("<pre>{}</pre>", obj.error)

    @admin.display(description="raw frames")
    def raw_frames(self, obj: QuarantinedBatch) -> str:
        """The first ones, cut; whatever is in them is shown as text."""
        shown = quarantine.frames_of(obj)[:SHOWN_FRAMES]
        return format_html_join("", "<pre>{}</pre>", ((_readable(frame, len(frame)),) for frame in shown))


@admin.register(QuarantinedFrame)
class QuarantinedFrameAdmin(admin.ModelAdmin):
    """Frames that no mapper takes, and trades whose numbers nobody believes, of one exchange; they stand in Redis."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Written by ingest only."""
        return False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The newest ones of the exchange that is asked for, else of the first."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        slugs = registry.slugs()
        asked = request.GET.get("exchange", "")
        chosen = asked if asked in slugs else slugs[0]
        try:
            kept, is_away = quarantine.frames(chosen, quarantine.FRAMES_KEPT), False
        except StoreUnavailable:
            kept, is_away = [], True
        context = {
            **self.admin_site.each_context(request),
            "title": "Frames and trades set aside", "opts": self.opts, "slugs": slugs, "chosen": chosen,
            "is_away": is_away, "rows": [(_utc(f.at_ms), f, _readable(f.frame, f.size)) for f in kept],
        }  # fmt: skip
        return TemplateResponse(request, "admin/candles/quarantinedframe/frames.html", context)


def _readable(frame: bytes, size: int) -> str:
    """A frame as text, cut; bytes that are none are written as escapes."""
    shown = frame.decode(errors="backslashreplace")[:SHOWN_CHARACTERS]
    return shown if size <= SHOWN_CHARACTERS else f"{shown} … ({size} bytes)"


def _utc(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
