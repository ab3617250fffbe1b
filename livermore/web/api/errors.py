"""Every failure of the API as `{"error": {"code", "message", …}}` with the right status."""

from __future__ import annotations

from typing import Any

import redis
from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, AuthorizationError, HttpError, ValidationError

from livermore.core.errors import InvalidInput, StoreUnavailable
from livermore.web.access import unauthorized
from livermore.web.markets import Unknown
from symbols.choosing import UnknownSymbol

_CODES = {400: "bad_request", 401: "unauthorized", 403: "forbidden", 404: "not_found", 409: "conflict"}


class Forbidden(HttpError):
    """Known, but not allowed."""

    def __init__(self, message: str) -> None:
        super().__init__(403, message)


def body(code: str, message: str, **more: Any) -> dict[str, Any]:
    """The one shape of an error."""
    return {"error": {"code": code, "message": message, **more}}


def register(api: NinjaAPI) -> None:
    """Attach the handlers."""
    handlers = (
        (AuthenticationError, _unauthenticated),
        (AuthorizationError, _unauthorized),
        (ValidationError, _invalid),
        (Unknown, _unknown),
        (UnknownSymbol, _unknown_symbol),
        (InvalidInput, _input),
        (HttpError, _http),
        (Http404, _missing),
        (redis.RedisError, _store),
        (StoreUnavailable, _store),
    )
    for kind, handler in handlers:
        api.add_exception_handler(kind, _answering(api, handler))


def _answering(api: NinjaAPI, handler: Any) -> Any:
    def answer(request: HttpRequest, error: Any) -> HttpResponse:
        made = handler(error)
        return made if isinstance(made, HttpResponse) else api.create_response(request, made[1], status=made[0])

    return answer


def _unauthenticated(error: AuthenticationError) -> HttpResponse:
    return unauthorized()


def _unauthorized(error: AuthorizationError) -> tuple[int, dict[str, Any]]:
    return 403, body("forbidden", "not allowed")


def _invalid(error: ValidationError) -> tuple[int, dict[str, Any]]:
    fields = {".".join(str(part) for part in e["loc"][1:]): e["msg"] for e in error.errors}
    said = "; ".join(f"{name}: {message}" for name, message in fields.items())
    return 422, body("invalid", said, fields=fields)


def _unknown(error: Unknown) -> tuple[int, dict[str, Any]]:
    # A path that names no exchange is a resource that is not there; the rest is input that cannot be.
    status = 404 if error.code == "unknown_exchange" else 422
    return status, body(error.code, str(error), nearest=error.nearest)


def _input(error: InvalidInput) -> tuple[int, dict[str, Any]]:
    return 422, body("invalid", str(error))


def _unknown_symbol(error: UnknownSymbol) -> tuple[int, dict[str, Any]]:
    return 422, body("unknown_symbol", str(error), nearest=error.nearest)


def _http(error: HttpError) -> tuple[int, dict[str, Any]]:
    return error.status_code, body(_CODES.get(error.status_code, "error"), str(error))


def _missing(error: Http404) -> tuple[int, dict[str, Any]]:
    return 404, body("not_found", "there is nothing at this address; see /api/v1/docs")


def _store(error: Exception) -> tuple[int, dict[str, Any]]:
    return 503, body("store_unavailable", "the state Redis does not answer; see /health/ready")
