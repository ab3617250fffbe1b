"""What KuCoin's answers and their headers say, whichever call they belong to."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import requests

from exchanges.http import Door
from livermore.core.errors import (
    CredentialsRejected,
    GeoBlocked,
    InvalidInput,
    RateLimited,
    RemoteProtocolError,
    VenueUnavailable,
)

_SUCCESS, _TOO_MANY = "200000", "429000"
_REGIONAL = ("400301", "400302", "400303", "400304")
_OVERLOAD_PAUSE_S = 2.0
"""A 429 without quota headers means that the venue is busy, not that we asked too much."""
_OWN_ADDRESS = re.compile(r"current ip: \S+ and ")


def payload(door: Door, response: requests.Response) -> Any:
    """What a good answer wraps; else the error its code, or failing that its status, stands for.

    https://www.kucoin.com/docs-new/error-code-description and `/rate-limit`
    """
    try:
        said = response.json()
    except (ValueError, RecursionError):
        said = None
    code = said.get("code") if isinstance(said, dict) else None
    if code == _SUCCESS and response.ok:
        return said.get("data")
    words = f"{urlsplit(door.base).netloc}: {code} {said.get('msg', '') if code else ''}"[:300].rstrip()
    if code in door.key_codes:
        raise CredentialsRejected(words)
    if code in _REGIONAL:
        raise GeoBlocked(_OWN_ADDRESS.sub("", words))
    if code == _TOO_MANY or response.status_code == 429:
        until_ms = int((time.time() + _pause_s(response)) * 1000)
        door.budget.close(until_ms)
        raise RateLimited(words, until_ms)
    answer = door.decoded(response)
    if not isinstance(answer, dict) or not isinstance(code, str):
        raise RemoteProtocolError(f"{urlsplit(door.base).netloc}: an answer without a code")
    raise VenueUnavailable(words) if code.startswith("5") else InvalidInput(words)


def _pause_s(response: requests.Response) -> float:
    """Until our quota begins anew; a moment where the venue is merely busy."""
    reset_ms = told(response.headers, "reset")
    return _OVERLOAD_PAUSE_S if reset_ms is None else reset_ms / 1000


def used(headers: Mapping[str, str]) -> int | None:
    """The weight of this window, of our whole address."""
    allowed, left = told(headers, "limit"), told(headers, "remaining")
    return None if allowed is None or left is None else allowed - left


def told(headers: Mapping[str, str], name: str) -> int | None:
    """A number of the pool: `limit` and `remaining` are weights, `reset` is in ms; None where it is not told."""
    said = headers.get(f"gw-ratelimit-{name}", "")
    return int(said) if re.fullmatch(r"\d{1,9}", said) else None
