"""The operator's desk for drift: what a venue says otherwise than our row, and two buttons to settle it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils.html import format_html

from exchanges import metadata
from exchanges.models import Drift
from livermore.core.errors import InvalidInput

_SHOWN = ("exchange", "what", "ours", "theirs", "seen_at", "decision", "settled_by", "settled_at")
_WAYS: dict[str, Callable[[int, str], Drift]] = {"accept": metadata.accept, "keep": metadata.keep}


class IsOpen(admin.SimpleListFilter):
    """Settled or not."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Both."""
        return [("open", "open"), ("settled", "settled")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Drift]) -> QuerySet[Drift]:
        """All where nothing is chosen, the open ones first."""
        is_chosen = self.value() in ("open", "settled")
        return queryset.filter(settled_at__isnull=self.value() == "open") if is_chosen else queryset


@admin.register(Drift)
class DriftAdmin(admin.ModelAdmin):
    """Rows are written by the daily comparison; a person only settles them."""

    list_display = (*_SHOWN, "settle")
    list_filter = (IsOpen, "exchange", "decision")
    list_select_related = ("exchange",)
    search_fields = ("what",)
    readonly_fields = _SHOWN
    fields = _SHOWN
    actions = ("accept_theirs", "keep_ours")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody writes one by hand."""
        return False

    def get_urls(self) -> list[Any]:
        """Django's, and where the buttons lead."""
        ours = [
            path(
                f"<int:pk>/{way}/",
                self.admin_site.admin_view(self._button(way)),
                name=f"exchanges_drift_{way}",
            )
            for way in _WAYS
        ]
        return [*ours, *super().get_urls()]

    @admin.display(description="settle")
    def settle(self, obj: Drift) -> str:
        """Its two buttons, within the list's own form."""
        if obj.settled_at is not None:
            return "—"
        accept, keep = (reverse(f"admin:exchanges_drift_{way}", args=(obj.pk,)) for way in _WAYS)
        return format_html(
            '<button type="submit" class="button" formaction="{}">Accept theirs</button> '
            '<button type="submit" class="button" formaction="{}">Keep ours</button>',
            accept, keep,
        )  # fmt: skip

    @admin.action(description="Accept theirs", permissions=["change"])
    def accept_theirs(self, request: HttpRequest, queryset: QuerySet[Drift]) -> None:
        """Write what the venues say into the rows."""
        self._settle(request, "accept", queryset.values_list("pk", flat=True))

    @admin.action(description="Keep ours", permissions=["change"])
    def keep_ours(self, request: HttpRequest, queryset: QuerySet[Drift]) -> None:
        """Leave the rows as they are."""
        self._settle(request, "keep", queryset.values_list("pk", flat=True))

    def _button(self, way: str) -> Callable[[HttpRequest, int], HttpResponse]:
        def press(request: HttpRequest, pk: int) -> HttpResponse:
            if request.method != "POST":
                return HttpResponseNotAllowed(["POST"])
            if not self.has_change_permission(request):
                raise PermissionDenied
            self._settle(request, way, [pk])
            return redirect("admin:exchanges_drift_changelist")

        return press

    def _settle(self, request: HttpRequest, way: str, pks: Any) -> None:
        """Both ways decide about the exchange's row, so both need the right to change it."""
        if not request.user.has_perm("exchanges.change_exchange"):
            raise PermissionDenied
        for pk in list(pks):
            try:
                drift = _WAYS[way](pk, request.user.get_username())
            except InvalidInput as error:
                messages.error(request, str(error))
                continue
            said = f"{drift.what}: {drift.decision}; ours was {drift.ours}, theirs {drift.theirs}"
            self.log_change(request, drift.exchange, said)
            self.log_change(request, drift, said)
            messages.info(request, f"{drift.exchange}: {said}")
