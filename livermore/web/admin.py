"""API tokens in the admin: made there, their text shown once."""

from __future__ import annotations

from django.contrib import admin, messages
from django.forms import ModelForm
from django.http import HttpRequest

from livermore.web.models import ApiToken, new_text


@admin.register(ApiToken)
class ApiTokenAdmin(admin.ModelAdmin):
    """A token is made and deleted, never changed."""

    list_display = ("name", "user", "may_change", "created_at")
    list_select_related = ("user",)
    fields = ("user", "name", "may_change")

    def save_model(self, request: HttpRequest, obj: ApiToken, form: ModelForm, change: bool) -> None:
        """Shows the text of a new token, which is not kept."""
        text = new_text(obj)
        super().save_model(request, obj, form, change)
        messages.warning(request, f"Copy the token now, it is not shown again: {text}")

    def has_change_permission(self, request: HttpRequest, obj: ApiToken | None = None) -> bool:
        """Nothing of a token can be edited."""
        return False
