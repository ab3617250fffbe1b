"""One door for REST: every request to a venue leaves here, and every failure becomes one of our errors."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
import requests

from exchanges.venue import Budget
from livermore.core.errors import (
    CredentialsRejected,
    GeoBlocked,
    InvalidInput,
    LivermoreError,
    LocalProtocolError,
    RateLimited,
    RemoteProtocolError,
    VenueUnavailable,
)
from livermore.version import version

T = TypeVar("T")

USER_AGENT = f"livermore/{version()}"
TIMEOUT_S = 10.0

_PAUSE_S = {429: 10.0, 418: 120.0, 403: 300.0}
"""How long to wait where the venue does not say; a ban (418) starts at two minutes."""

_REGIONAL = re.compile(
    r"restricted location|eligib|your (country|region|location)|jurisdiction|not available in|geo", re.I
)


class OneUsersBudget:
    """Fulfils `Budget` for calls that a venue limits user by user: they cost what they cost, but a user who asked too
    much, perhaps by another program, closes the venue for nobody else."""

    def __init__(self, shared: Budget) -> None:
        self.spend = shared.spend

    def told(self, used: int) -> None:
        """It is the user's count."""

    def close(self, until_ms: int) -> None:
        """The caller is refused all the same."""


def _untold(headers: Mapping[str, str]) -> int | None:
    """Of a venue that does not say how much was used."""
    return None


class Door(requests.Session):
    """A session that reaches one host only, waits `timeout_s` at most per read, and never redirects.

    Only the calls that `allowed` names leave, each as `GET /path`, where `*` stands for one part of the path: no
    venue's list holds a call that orders or moves anything. Every request takes its weight from `budget` first: that
    of its path in `weights`, else 1. `used` reads from an answer's headers what the venue has counted in its running
    window. No proxy and no credentials are taken from the environment. `is_403_regional` tells that this venue's 403
    means geography whatever its text; else only a text that speaks of it does. `pauses_s` says by status how long to
    wait where this venue does not say. `key_codes` are the venue's codes for a key that it does not accept, whatever
    the status. `is_signed` tells that addresses hold signatures, which no error shows then.
    """

    def __init__(
        self,
        base: str,
        budget: Budget,
        *,
        allowed: Collection[str],
        weights: Mapping[str, int] | None = None,
        used: Callable[[Mapping[str, str]], int | None] = _untold,
        timeout_s: float = TIMEOUT_S,
        is_403_regional: bool = False,
        pauses_s: Mapping[int, float] | None = None,
        key_codes: Collection[int | str] = (),
        is_signed: bool = False,
    ) -> None:
        super().__init__()
        self.base = base.rstrip("/")
        self.budget = budget
        self.allowed = frozenset(allowed)
        self.weights = weights or {}
        self.used = used
        self.timeout_s = timeout_s
        self.is_403_regional = is_403_regional
        self.pauses_s = _PAUSE_S | dict(pauses_s or {})
        self.key_codes = frozenset(key_codes)
        self.is_signed = is_signed
        self.trust_env = False
        self.headers["User-Agent"] = USER_AGENT

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Sends and reads the whole answer; raises `VenueUnavailable`, what the budget raises, or
        `LocalProtocolError` for another host than the door's and for a call that is not allowed."""
        home, asked = urlsplit(self.base), urlsplit(str(request.url))
        if (asked.scheme, asked.netloc) != (home.scheme, home.netloc):
            raise LocalProtocolError(f"{asked.netloc} is not {home.netloc}: this door leads there only")
        path = asked.path.removeprefix(home.path)
        if not any(_is_call(f"{request.method} {path}", call) for call in self.allowed):
            raise LocalProtocolError(f"{request.method} {path} is none of the calls that may be made of {home.netloc}")
        request.headers["User-Agent"] = USER_AGENT
        self.budget.spend(self.weights.get(path, 1))
        try:
            response = super().send(request, **kwargs | {"timeout": self.timeout_s, "allow_redirects": False})
        except requests.RequestException as error:
            # Its own text holds the whole address.
            cause = None if self.is_signed else error
            raise VenueUnavailable(f"{home.netloc}: {type(error).__name__}") from cause
        used = self.used(response.headers)
        if used is not None:
            self.budget.told(used)
        return response

    def fetch(self, path: str, **params: Any) -> Any:
        """GET `base + path`, decoded; raises what `decoded` raises."""
        return self.decoded(self.get(self.base + path, params=params))

    def decoded(self, response: requests.Response) -> Any:
        """The JSON of a good answer; raises by status code, and `VenueUnavailable` for anything but JSON.

        `RateLimited` also closes the budget, for every process.
        """
        where = f"{urlsplit(self.base).netloc}: HTTP {response.status_code}"
        if not 200 <= response.status_code < 300:
            refusal = self._refusal(response, where)
            if isinstance(refusal, RateLimited):
                self.budget.close(refusal.until_ms)
            raise refusal
        try:
            return response.json()
        except (ValueError, RecursionError):
            kind = response.headers.get("Content-Type", "no type")
            raise VenueUnavailable(f"{where} with {kind} that is not JSON") from None

    def _refusal(self, response: requests.Response, where: str) -> LivermoreError:
        status = response.status_code
        said = f"{where} {_message(response)}".rstrip()
        if self.key_codes & _codes(response):
            return CredentialsRejected(said)
        if status == 451 or (status == 403 and (self.is_403_regional or _REGIONAL.search(response.text))):
            return GeoBlocked(said)
        if status in self.pauses_s:
            return RateLimited(said, int((time.time() + _pause_s(response, self.pauses_s[status])) * 1000))
        if status == 401:
            return CredentialsRejected(said)
        if status == 408 or not 400 <= status < 500:
            return VenueUnavailable(said)
        return InvalidInput(said)


def reads(paths: Iterable[str]) -> list[str]:
    """These paths as calls that a `Door` allows, all of them GET."""
    return [f"GET {path}" for path in paths]


def shaped(answer: Any, shape: type[T]) -> T:
    """The decoded JSON as a typed value; raises `RemoteProtocolError` naming the field at fault."""
    try:
        return msgspec.convert(answer, shape)
    except msgspec.ValidationError as error:
        raise RemoteProtocolError(f"an answer of another shape: {error}") from None


def _is_call(asked: str, allowed: str) -> bool:
    parts, pattern = asked.split("/"), allowed.split("/")
    return len(parts) == len(pattern) and all(
        part == wanted or (wanted == "*" and part not in ("", ".", ".."))
        for part, wanted in zip(parts, pattern, strict=True)
    )


def _pause_s(response: requests.Response, default_s: float) -> float:
    """`Retry-After` in seconds or as a date, else Coinbase's `x-ratelimit-reset`, else a default."""
    for header in ("Retry-After", "x-ratelimit-reset"):
        said = response.headers.get(header, "")
        if re.fullmatch(r"\d{1,9}(\.\d+)?", said):
            return float(said)
        if said:
            try:
                return max(0.0, parsedate_to_datetime(said).timestamp() - time.time())
            except ValueError:
                continue
    return default_s


def _said(response: requests.Response) -> dict[str, Any]:
    """An error's JSON object; empty where there is none."""
    try:
        said = response.json()
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _codes(response: requests.Response) -> frozenset[object]:
    said = _said(response)
    return frozenset(code for k in ("code", "error") if isinstance(code := said.get(k), int | str))


def _message(response: requests.Response) -> str:
    """The venue's own words, whichever field they stand in; nothing of an HTML page."""
    said = _said(response)
    if isinstance(said.get("errors"), list) and said["errors"] and isinstance(said["errors"][0], dict):
        said = said["errors"][0]
    words = next((said[k] for k in ("msg", "message", "error_details", "error") if said.get(k)), "")
    return " ".join(str(words).split())[:300]
