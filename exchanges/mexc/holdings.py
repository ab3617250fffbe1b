"""A user's spot account at MEXC: HMAC SHA256 of the query, in lower case.

https://www.mexc.com/api-docs/spot-v3/general-info#signed and `/spot-account-trade#account-information`
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from decimal import Decimal
from urllib.parse import urlsplit

import msgspec
import requests

from exchanges.clock import VenueNow
from exchanges.holdings import Balance, Credentials, KeyRights, gathered
from exchanges.http import Door, reads, shaped
from exchanges.mexc.rest import FIREWALL_PAUSE_S, WEIGHTS
from exchanges.venue import Budget, Endpoint

_TIME, _ACCOUNT = "/api/v3/time", "/api/v3/account"
_WEIGHTS = {_TIME: WEIGHTS[_TIME], _ACCOUNT: 10}

_REFUSED_KEY = {400, 401, 602, 10072, 700001, 700002, 700006, 700007}
"""Key missing, no authority, signature, unknown key, its format, signature, address, permission. `/error-code`"""


class _Part(msgspec.Struct):
    asset: str
    free: Decimal
    locked: Decimal


class _Account(msgspec.Struct):
    balances: list[_Part]


class _Time(msgspec.Struct):
    serverTime: int  # noqa: N815 - the venue's name


class MexcHoldings:
    """Fulfils `Holdings`."""

    def __init__(self, endpoint: Endpoint, budget: Budget, credentials: Credentials) -> None:
        self._door = Door(
            endpoint.rest, budget,
            allowed=reads(_WEIGHTS), weights=_WEIGHTS, pauses_s={403: FIREWALL_PAUSE_S},
            key_codes=_REFUSED_KEY, is_signed=True,
        )  # fmt: skip
        self._credentials = credentials
        self._now = VenueNow(lambda: shaped(self._door.fetch(_TIME), _Time).serverTime)

    def rights(self) -> KeyRights:
        """It has no call that tells them: `canTrade` and `permissions` of an account speak of the account."""
        return KeyRights(None)

    def balances(self) -> Sequence[Balance]:
        """Assets of which there is some."""
        response = self._door.get(self._door.base + _ACCOUNT, params={"timestamp": self._now.ms()}, auth=self._sign)
        account = shaped(self._door.decoded(response), _Account)
        return gathered((part.asset, part.free, part.locked) for part in account.balances)

    def _sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        query = urlsplit(str(request.url)).query
        signature = hmac.new(self._credentials.api_secret.encode(), query.encode(), hashlib.sha256).hexdigest()
        request.url = f"{request.url}&signature={signature}"
        request.headers["X-MEXC-APIKEY"] = self._credentials.api_key
        request.headers["Content-Type"] = "application/json"
        return request
