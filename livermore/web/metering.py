"""Counts the requests that this process answers, by address pattern and kind of answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponse

from exchanges import tally

_ADMIN = "admin/"


class RequestCount:
    """Middleware, the outermost: it sees what all others answered. Patterns are few; the admin's are taken as one."""

    async_capable = True
    sync_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse | Awaitable[HttpResponse]]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponse | Awaitable[HttpResponse]:
        if iscoroutinefunction(self):
            return self._answer(request)
        return _counted(request, self.get_response(request))  # type: ignore[arg-type]

    async def _answer(self, request: HttpRequest) -> HttpResponse:
        tally.keep_flushing()  # here and not at import: a server answers so, a test or a command does not
        return _counted(request, await self.get_response(request))  # type: ignore[misc]


def _counted(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    match = request.resolver_match
    view = (match.route or "/") if match else "none"
    view = _ADMIN if view.startswith(_ADMIN) else view
    tally.add(tally.REQUESTS, view, f"{response.status_code // 100}xx")
    return response
