"""Positions in the admin: shown as exchanges and files say them, and files of them taken in."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path, reverse

from exchanges.models import Exchange
from livermore.core.errors import InvalidInput
from symbols import holdings_file, positions
from symbols.models import Position

_SHOWN = (
    "user", "exchange", "account", "asset", "free", "locked", "value_usd", "symbol", "seen_at", "until",
)  # fmt: skip


class HoldingsFileForm(forms.Form):
    """Whose file, of which exchange, and until when it holds."""

    user = forms.ModelChoiceField(get_user_model().objects.filter(is_active=True).order_by("username"))
    exchange = forms.ModelChoiceField(Exchange.objects.filter(enabled=True))
    file = forms.FileField(help_text="CSV with a column asset or symbol, and perhaps amount.")
    expires_at = forms.SplitDateTimeField(
        required=False,
        widget=admin.widgets.AdminSplitDateTime,
        help_text="UTC. Empty: until another file of this user and exchange replaces it.",
    )


@admin.register(Position)
class PositionAdmin(admin.ModelAdmin):
    """What readings and files wrote; nothing here adds up what lies at different exchanges."""

    list_display = _SHOWN
    list_filter = ("exchange", "user")
    list_select_related = ("user", "exchange", "account__user", "symbol")
    search_fields = ("user__username", "asset")
    # Decimals are text on SQLite and would sort as text.
    sortable_by = ("user", "exchange", "asset", "seen_at", "until")
    fields = (*_SHOWN, "valued_at")
    change_list_template = "web/admin_positions.html"

    def get_urls(self) -> list[Any]:
        """The import's page before the others."""
        view = self.admin_site.admin_view(self.import_view)
        return [path("import/", view, name="symbols_position_import"), *super().get_urls()]

    def import_view(self, request: HttpRequest) -> HttpResponse:
        """A form, and what is wrong with each line of a file that cannot be taken."""
        if not request.user.has_perm("symbols.add_position"):
            raise PermissionDenied
        form = HoldingsFileForm(request.POST or None, request.FILES or None)
        if request.method == "POST" and form.is_valid() and self._is_taken(request, form):
            return redirect(reverse("admin:symbols_position_changelist"))
        context = self.admin_site.each_context(request) | {"form": form, "opts": self.opts, "title": "Import holdings"}
        return TemplateResponse(request, "web/admin_import_holdings.html", context)

    def _is_taken(self, request: HttpRequest, form: HoldingsFileForm) -> bool:
        given = form.cleaned_data
        raw = given["file"].read(holdings_file.MOST_BYTES + 1)
        try:
            done = holdings_file.load(given["user"], given["exchange"].slug, raw, expires_at=given["expires_at"])
        except InvalidInput as error:
            for line in getattr(error, "errors", [str(error)]):
                form.add_error("file", line)
            return False
        messages.info(
            request,
            f"{given['exchange']}: {done.positions} positions of {given['user']}, {done.followed} followed; "
            f"{done.leaving} former ones leave within a day",
        )
        return True

    def has_add_permission(self, request: HttpRequest) -> bool:
        """One by one they are not added."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Position | None = None) -> bool:
        """They say what was read."""
        return False

    def delete_model(self, request: HttpRequest, obj: Position) -> None:
        """With the reason to follow its market; one that an account still holds comes back."""
        positions.forget(Position.objects.filter(pk=obj.pk))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Position]) -> None:
        """The same for many."""
        positions.forget(Position.objects.filter(pk__in=list(queryset.values_list("pk", flat=True))))
