"""Users' accounts in the admin: their secrets go in and never out, and how reading them goes is shown."""

from __future__ import annotations

from functools import partial
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters
from kombu.exceptions import OperationalError

from exchanges import credentials, registry, services
from exchanges.holdings import Credentials
from exchanges.models import KeyState, UserExchange
from livermore.core.errors import CredentialsRejected, StoreUnavailable
from symbols import positions, tasks
from symbols.models import Position

_SECRETS = ("api_key", "api_secret", "passphrase")
_OBSERVED = ("state", "state_why", "tried_at", "read_at")


class UserExchangeForm(forms.ModelForm):
    """Secrets are typed in and encrypted; the form never shows what is stored."""

    api_key = forms.CharField(required=False, widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}))
    api_secret = forms.CharField(required=False, widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}))
    passphrase = forms.CharField(required=False, widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}))

    class Meta:
        model = UserExchange
        fields = ("user", "exchange", "label", "is_trading_acknowledged")

    def clean(self) -> dict[str, Any]:
        """A new account needs key and secret, and so does another exchange: no key is shown to two venues. Leaving all
        empty otherwise keeps what is stored."""
        cleaned = super().clean() or self.cleaned_data
        given = [name for name in _SECRETS if cleaned.get(name)]
        if given or not self.instance.credentials or "exchange" in self.changed_data:
            for name in ("api_key", "api_secret"):
                if name not in given:
                    self.add_error(name, "enter key and secret together; what is stored is replaced as a whole")
        if given and not self.errors:
            self._check_shape(cleaned)
        return cleaned

    def _check_shape(self, cleaned: dict[str, Any]) -> None:
        """What cannot be a key of this venue is said at once; whether it is one, the venue says when it is read."""
        slug = cleaned["exchange"].slug
        make = registry.venue(slug).holdings if slug in registry.slugs() else None
        if make is None:
            return
        try:
            make(cleaned["exchange"].endpoint(), services.budget(slug), Credentials(*(cleaned[n] for n in _SECRETS)))
        except CredentialsRejected as error:
            self.add_error(None, str(error))

    def save(self, commit: bool = True) -> UserExchange:
        """Encrypts what was typed; an account that was refused may be read once more."""
        if self.cleaned_data.get("api_key"):
            self.instance.credentials = credentials.encrypt({name: self.cleaned_data[name] for name in _SECRETS})
        self.instance.ask_again()
        return super().save(commit)


@admin.register(UserExchange)
class UserExchangeAdmin(admin.ModelAdmin):
    """Accounts of users at exchanges; credentials are write-only."""

    form = UserExchangeForm
    list_display = ("user", "exchange", "label", "has_credentials", "is_trading_acknowledged", *_OBSERVED)
    list_filter = ("exchange", "state")
    list_select_related = ("user", "exchange")
    search_fields = ("user__username", "label")
    autocomplete_fields = ("user",)
    readonly_fields = _OBSERVED
    actions = ("read_now",)
    fieldsets = (
        (None, {"fields": ("user", "exchange", "label", "is_trading_acknowledged")}),
        (
            "Credentials",
            {
                "description": "Write-only: what is stored is never shown. Make a key for reading only. Coinbase's key "
                "is its name, its secret the private key in PEM.",
                "fields": _SECRETS,
            },
        ),
        ("Positions", {"fields": _OBSERVED}),
    )

    @admin.display(description="credentials stored", boolean=True)
    def has_credentials(self, obj: UserExchange) -> bool:
        """Is anything stored?"""
        return bool(obj.credentials)

    @method_decorator(sensitive_post_parameters(*_SECRETS))
    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Error reports leave the secrets out."""
        return super().changeform_view(request, *args, **kwargs)

    def save_model(self, request: HttpRequest, obj: UserExchange, form: forms.ModelForm, change: bool) -> None:
        """What another account held is forgotten; this one is read at once where its exchange streams."""
        if change and {"user", "exchange"} & set(form.changed_data):
            positions.forget(Position.objects.filter(account=obj))
        super().save_model(request, obj, form, change)
        transaction.on_commit(partial(_read_if_streaming, obj))

    def delete_model(self, request: HttpRequest, obj: UserExchange) -> None:
        """Its positions are no longer a reason to follow anything."""
        positions.forget(Position.objects.filter(account=obj))
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[UserExchange]) -> None:
        """The same for many."""
        positions.forget(Position.objects.filter(account__in=list(queryset)))
        super().delete_queryset(request, queryset)

    @admin.action(description="Read positions now", permissions=["change"])
    def read_now(self, request: HttpRequest, queryset: QuerySet[UserExchange]) -> None:
        """Asks the venue, even where nothing streams; not with a key that was refused."""
        for account in queryset.select_related("user"):
            if account.state == KeyState.REFUSED:
                messages.error(request, f"{account}: {account.state_why}; edit it first")
            else:
                transaction.on_commit(partial(tasks.refresh_positions.delay, account.pk))
                messages.info(request, f"{account}: {tasks.refresh_positions.name} enqueued")


def _read_if_streaming(account: UserExchange) -> None:
    """Where it cannot be enqueued now, beat's next round finds it."""
    try:
        if account.exchange_id in services.streaming():
            tasks.refresh_positions.apply_async((account.pk,), retry=False)
    except (StoreUnavailable, OperationalError, OSError):
        return
