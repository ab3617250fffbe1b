"""The operator's view of rules, channels and what is owed; addresses are entered and never shown."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters

from candles.notify import channels
from candles.notify.models import Channel, Delivery, Rule
from exchanges.credentials import seal
from livermore.core.errors import InvalidInput


class ChannelForm(forms.ModelForm):
    """Address and secret are typed in and sealed; left empty, what is stored stays."""

    new_address = forms.CharField(
        required=False, max_length=500, widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text="https://… of a webhook, or apprise's discord:// slack:// tgram:// mailto://",
    )  # fmt: skip
    new_secret = forms.CharField(
        required=False, max_length=200, widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text="With it webhooks are signed; whoever receives them needs it, too.",
    )  # fmt: skip

    class Meta:
        model = Channel
        fields = ("user", "name", "kind", "is_enabled", "is_operators")

    def clean(self) -> dict[str, Any]:
        """A new channel needs an address, and a webhook a secret; an address must be usable."""
        cleaned = super().clean() or self.cleaned_data
        address = cleaned.get("new_address")
        if not address and not self.instance.pk:
            self.add_error("new_address", "where to?")
        if not self.instance.pk and cleaned.get("kind") == Channel.Kind.WEBHOOK and not cleaned.get("new_secret"):
            self.add_error("new_secret", "a webhook is signed: enter a secret that its receiver knows")
        if address:
            try:
                channels.check(cleaned.get("kind", ""), address)
            except InvalidInput as error:
                self.add_error("new_address", str(error))
        return cleaned

    def save(self, commit: bool = True) -> Channel:
        """Seals what was typed."""
        if self.cleaned_data.get("new_address"):
            self.instance.address = seal(self.cleaned_data["new_address"])
        if self.cleaned_data.get("new_secret"):
            self.instance.secret = seal(self.cleaned_data["new_secret"])
        return super().save(commit)


@admin.register(Channel)
class ChannelAdmin(admin.ModelAdmin):
    """Where users are told."""

    form = ChannelForm
    list_display = ("name", "user", "kind", "is_enabled", "is_operators", "last_sent_at", "last_error")
    list_filter = ("kind", "is_enabled")
    list_select_related = ("user",)
    autocomplete_fields = ("user",)
    actions = ("send_test",)

    @admin.action(description="Send a test message", permissions=["change"])
    def send_test(self, request: HttpRequest, queryset: QuerySet[Channel]) -> None:
        """Tells for each whether it arrived."""
        for channel in queryset:
            why = channels.test(channel)
            tell = messages.error if why else messages.info
            tell(request, f"{channel}: {why or 'the test message arrived'}")

    @method_decorator(sensitive_post_parameters("new_address", "new_secret"))
    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Error reports leave the secrets out."""
        return super().changeform_view(request, *args, **kwargs)


@admin.register(Rule)
class RuleAdmin(admin.ModelAdmin):
    """Which signals users want to hear of."""

    list_display = ("name", "user", "is_enabled", "home", "kinds", "bases", "min_net_bps")
    list_filter = ("is_enabled", "home")
    list_select_related = ("user", "home")
    autocomplete_fields = ("user",)
    filter_horizontal = ("channels",)


@admin.register(Delivery)
class DeliveryAdmin(admin.ModelAdmin):
    """The outbox: what is owed, what arrived, what was given up."""

    list_display = ("event_id", "phase", "channel", "state", "tries", "created_at", "due_at", "sent_at", "last_error")
    list_filter = ("state", "phase", "is_digest")
    list_select_related = ("channel__user",)
    search_fields = ("=event_id",)
    actions = ("send_again",)

    @admin.action(description="Send again", permissions=["change"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> None:
        """Also what was given up; a receiver knows by its id that it came again."""
        now = timezone.now()
        count = queryset.update(state=Delivery.State.OWED, due_at=now, created_at=now, tries=0)
        messages.info(request, f"{count} are owed again")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Events make these rows."""
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """What happened is not edited."""
        return tuple(field.name for field in Delivery._meta.fields)
