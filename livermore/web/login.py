"""The login pages of the site and of its admin: Django's own, with a pause after repeated failures."""

from __future__ import annotations

from datetime import timedelta

from django.contrib import admin
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.views import LoginView
from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone

from livermore.web.models import LoginFailures, digest

FAILURES_ALLOWED = 5
PAUSE = timedelta(seconds=60)
# Rows of names that nobody tries any more are removed by the next failure.
FORGET_AFTER = timedelta(hours=1)


class ThrottledLoginView(LoginView):
    """After five failures for one name and address, 60 s in which no password is even looked at."""

    template_name = "web/login.html"
    redirect_authenticated_user = True

    def post(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        """Refuses with 429 while paused, otherwise what Django does."""
        wait_s = seconds_to_wait(_who(request))
        if wait_s:
            form = self.get_form_class()(request)
            context = self.get_context_data(form=form, wait_s=wait_s)
            return self.render_to_response(context, status=429, headers={"Retry-After": str(wait_s)})
        return super().post(request, *args, **kwargs)

    def form_valid(self, form: object) -> HttpResponse:
        """A success forgets the failures."""
        LoginFailures.objects.filter(digest=_who(self.request)).delete()
        return super().form_valid(form)

    def form_invalid(self, form: object) -> HttpResponse:
        """Counts one failure."""
        note_failure(_who(self.request))
        return super().form_invalid(form)


class ThrottledAdminLoginView(ThrottledLoginView):
    """As above, for staff: in the admin's dress, and failures on either page count for both."""

    template_name = "web/admin_login.html"
    authentication_form = AdminAuthenticationForm
    # Who is logged in but no staff would be sent back and forth for ever.
    redirect_authenticated_user = False

    def get(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        """Staff that is logged in has nothing to do here."""
        if admin.site.has_permission(request):
            return redirect("admin:index")
        return super().get(request, *args, **kwargs)

    def get_default_redirect_url(self) -> str:
        """Where a login leads that came from nowhere."""
        return reverse("admin:index")

    def get_context_data(self, **kwargs: object) -> dict[str, object]:
        """What the admin's template needs besides."""
        return super().get_context_data(**admin.site.each_context(self.request), title="Log in", **kwargs) | {
            "app_path": self.request.get_full_path(),
            "username": self.request.user.get_username(),
        }


def seconds_to_wait(who: str) -> int:
    """How long `who` must wait before the next try; 0 when it may try now."""
    row = LoginFailures.objects.filter(digest=who, count__gte=FAILURES_ALLOWED).first()
    if row is None:
        return 0
    left = row.last_at + PAUSE - timezone.now()
    if left <= timedelta(0):
        row.delete()
        return 0
    return int(left.total_seconds()) + 1


def note_failure(who: str) -> None:
    """Adds one failure; the addition happens in the database, so two processes cannot lose one."""
    now = timezone.now()
    LoginFailures.objects.filter(last_at__lt=now - FORGET_AFTER).delete()
    row, is_new = LoginFailures.objects.get_or_create(digest=who, defaults={"count": 1, "last_at": now})
    if not is_new:
        LoginFailures.objects.filter(pk=row.pk).update(count=F("count") + 1, last_at=now)


def _who(request: HttpRequest) -> str:
    name = request.POST.get("username", "").strip().casefold()
    return digest(f"{name}|{request.META.get('REMOTE_ADDR', '')}")
