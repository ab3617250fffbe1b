"""How often one caller may ask the API: so many calls a minute, counted for all web processes together."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from redis.exceptions import RedisError

from exchanges.state import state_redis
from livermore.core import keys
from livermore.core.errors import StoreUnavailable
from livermore.web.api import errors
from livermore.web.models import digest

WINDOW_S = 60


def throttled(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Counts a call, refuses one too many, and says in the headers how many are left.

    Strangers are not counted: they get 401. Where nobody can count, everybody may ask.
    """

    @functools.wraps(view)
    def counted(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        caller, most = _caller(request), settings.API_CALLS_PER_MINUTE
        if not caller or not most:
            return view(request, *args, **kwargs)
        now_s = int(time.time())
        left_s = WINDOW_S - now_s % WINDOW_S
        used = _count(caller, now_s // WINDOW_S)
        response = view(request, *args, **kwargs) if used <= most else _refused(most, left_s)
        response["RateLimit-Limit"] = str(most)
        response["RateLimit-Remaining"] = str(max(0, most - used))
        response["RateLimit-Reset"] = str(left_s)
        return response

    return counted


def _caller(request: HttpRequest) -> str:
    """Whose calls these are: a token's or a user's; "" for a stranger."""
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and text:
        return digest(text.strip())[:16]
    return f"user-{request.user.pk}" if request.user.is_authenticated else ""


def _count(caller: str, minute: int) -> int:
    key = keys.api_calls(caller, minute)
    try:
        used = int(state_redis().incr(key))
        if used == 1:
            state_redis().expire(key, 2 * WINDOW_S)
    except (RedisError, StoreUnavailable):
        return 0
    return used


def _refused(most: int, left_s: int) -> HttpResponse:
    said = errors.body("too_many_calls", f"{most} calls a minute are accepted; again in {left_s} s")
    return JsonResponse(said, status=429, headers={"Retry-After": str(left_s)})
