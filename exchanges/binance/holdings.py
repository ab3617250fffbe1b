"""A user's spot account at Binance.com or Binance.US, through python-binance, which signs: HMAC SHA256 of the query.

https://developers.binance.com/docs/binance-spot-api-docs/rest-api/account-endpoints#account-information-user_data
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from typing import Any

import msgspec

from exchanges.binance.rest import through, used
from exchanges.clock import VenueNow
from exchanges.holdings import Balance, Credentials, KeyRights, gathered
from exchanges.http import Door, reads, shaped
from exchanges.venue import Budget, Endpoint

_RESTRICTIONS = "/sapi/v1/account/apiRestrictions"

WEIGHTS: Mapping[str, int] = {
    "/api/v3/time": 1,
    "/api/v3/account": 20,
    _RESTRICTIONS: 1,  # of a pool of its own; counted with the rest here
}

_ACCOUNT_HOSTS = {"https://data-api.binance.vision": "https://api.binance.com"}
"""The host for market data alone knows no accounts."""

_READING = {"enableReading", "enableFixReadOnly"}
_REFUSED_KEY = {-1022, -2008, -2014, -2015}
"""Signature, unknown key, its format; and key, address or permission, which it does not tell apart. `/errors`"""


class _Part(msgspec.Struct):
    asset: str
    free: Decimal
    locked: Decimal


class _Account(msgspec.Struct):
    balances: list[_Part]


class _Time(msgspec.Struct):
    serverTime: int  # noqa: N815 - the venue's name


class BinanceHoldings:
    """Fulfils `Holdings`; what lies in the spot account, not in funding, margin or Earn.

    Where `weights` leave out the restrictions of keys, the venue has no call that tells them: `canTrade` of an account
    speaks of the account.
    """

    def __init__(
        self, endpoint: Endpoint, budget: Budget, credentials: Credentials, *, weights: Mapping[str, int] = WEIGHTS
    ) -> None:
        self._door = Door(
            _ACCOUNT_HOSTS.get(endpoint.rest, endpoint.rest), budget,
            allowed=reads(weights), weights=weights, used=used, key_codes=_REFUSED_KEY, is_signed=True,
        )  # fmt: skip
        self._credentials = credentials
        self._now = VenueNow(lambda: shaped(self._client.get_server_time(), _Time).serverTime)

    @cached_property
    def _client(self) -> Any:
        return through(self._door, api_key=self._credentials.api_key, api_secret=self._credentials.api_secret)

    @property
    def _signing(self) -> Any:
        self._client.timestamp_offset = self._now.offset_ms
        return self._client

    def rights(self) -> KeyRights:
        """Every permission that is on, besides reading."""
        if _RESTRICTIONS not in self._door.weights:
            return KeyRights(None)
        said = shaped(self._signing.get_account_api_permissions(), dict[str, Any])
        granted = (name for name, is_on in said.items() if is_on is True and name.startswith(("enable", "permits")))
        return KeyRights(tuple(sorted(set(granted) - _READING)))

    def balances(self) -> Sequence[Balance]:
        """Assets of which there is some."""
        account = shaped(self._signing.get_account(), _Account)
        return gathered((part.asset, part.free, part.locked) for part in account.balances)
