"""Who asks: a session, or an API token in the Authorization header."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.utils.cache import patch_vary_headers
from ninja.errors import HttpError
from ninja.security import HttpBearer, SessionAuth

from livermore.web.models import ApiToken

_READS = ("GET", "HEAD", "OPTIONS")


class TokenAuth(HttpBearer):
    """`Authorization: Bearer <token>`; the request then acts as the token's user."""

    def authenticate(self, request: HttpRequest, token: str) -> Any | None:
        """The user, or None."""
        found = ApiToken.objects.matching(token)
        if found is None:
            return None
        if request.method not in _READS and not found.may_change:
            raise HttpError(403, f"the token {found.name!r} only reads; make one that may change things")
        request.user = found.user
        return found.user


# A session proves itself with the CSRF token when it changes something; a bearer token needs none.
AUTH = [TokenAuth(), SessionAuth()]


def is_known(request: HttpRequest) -> bool:
    """Does the request come from somebody who may read?"""
    if request.user.is_authenticated:
        return True
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    return scheme.lower() == "bearer" and TokenAuth().authenticate(request, text.strip()) is not None


def known_only(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """For pages of the API itself: a browser is sent to the login, a program gets 401."""

    @functools.wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if is_known(request):
            return view(request, *args, **kwargs)
        if "text/html" in request.headers.get("Accept", ""):
            return redirect(f"/login/?next={request.path}")
        return unauthorized()

    return guarded


def unauthorized() -> JsonResponse:
    """The 401 of contract §6."""
    response = JsonResponse(
        {"error": {"code": "unauthorized", "message": "log in, or send Authorization: Bearer <API token>"}}, status=401
    )
    response["WWW-Authenticate"] = "Bearer"
    patch_vary_headers(response, ["Authorization", "Cookie"])
    return response
