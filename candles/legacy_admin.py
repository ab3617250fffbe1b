"""The migration from the predecessor's keys to look at; only a number may be corrected, and only before it began."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest

from candles.legacy_models import LegacyMigration, LegacyModeChange, Mode
from candles.services.cutover import parity as parity_of


@admin.register(LegacyMigration)
class LegacyMigrationAdmin(admin.ModelAdmin):
    """Modes are changed by `manage.py migrate_keys`, which checks what must hold before."""

    list_display = ("exchange", "number", "mode", "parity", "verified_at", "cut_over_at")
    list_select_related = ("exchange",)
    readonly_fields = ("mode", "parity", "verified_at", "cut_over_at")
    fields = ("exchange", "number", *readonly_fields)

    def get_readonly_fields(self, request: HttpRequest, obj: LegacyMigration | None = None) -> tuple[str, ...]:
        """With another number, what was copied would have come from another exchange."""
        if obj is None:
            return self.readonly_fields
        return ("exchange", *self.readonly_fields, *(() if obj.mode == Mode.LEGACY else ("number",)))

    def has_delete_permission(self, request: HttpRequest, obj: LegacyMigration | None = None) -> bool:
        """What has begun is ended, not forgotten."""
        return (obj is None or obj.mode == Mode.LEGACY) and super().has_delete_permission(request, obj)

    @admin.display(description="verified")
    def parity(self, obj: LegacyMigration) -> str:
        """The share of keys that were whole."""
        return parity_of(obj) if obj.verified_at else "not yet"


@admin.register(LegacyModeChange)
class LegacyModeChangeAdmin(admin.ModelAdmin):
    """Who changed which mode when; nobody edits this."""

    list_display = ("at", "exchange", "before", "after", "by", "why")
    list_filter = ("exchange",)
    list_select_related = ("exchange",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Written by the changes themselves."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: LegacyModeChange | None = None) -> bool:
        """Written once."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: LegacyModeChange | None = None) -> bool:
        """Kept for ever."""
        return False
