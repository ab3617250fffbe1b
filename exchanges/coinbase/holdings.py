"""A user's accounts at Coinbase: every request bears a token, signed for its method, host and path alone.

https://docs.cdp.coinbase.com/coinbase-app/authentication-authorization/api-key-authentication and
`/api-reference/advanced-trade-api/rest-api/accounts/list-accounts`, `/data-api/get-api-key-permissions`
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import msgspec
import requests

from exchanges.clock import VenueNow
from exchanges.coinbase.key import read, token
from exchanges.holdings import Balance, Credentials, KeyRights, gathered
from exchanges.http import Door, OneUsersBudget, reads, shaped
from exchanges.venue import Budget, Endpoint
from livermore.core.errors import CredentialsRejected, InvalidInput, RemoteProtocolError
from livermore.core.trade import NANOS_PER_MS, Nanos

_BASE = "/api/v3/brokerage"
_TIME, _ACCOUNTS, _PERMISSIONS = (f"{_BASE}/{name}" for name in ("time", "accounts", "key_permissions"))
_PER_PAGE = 250
_MOST_PAGES = 40
"""Ten thousand accounts: a cursor that goes on after that goes in circles."""


class _Amount(msgspec.Struct):
    value: Decimal


class _Account(msgspec.Struct):
    currency: str
    available_balance: _Amount
    hold: _Amount | None = None


class _Accounts(msgspec.Struct):
    accounts: list[_Account]
    has_next: bool = False
    cursor: str = ""


class _Permissions(msgspec.Struct):
    can_view: bool
    can_trade: bool
    can_transfer: bool


class _Time(msgspec.Struct):
    epochMillis: str  # noqa: N815 - the venue's name


class CoinbaseHoldings:
    """Fulfils `Holdings`; requests are counted, whatever they ask. The secret is the key's PEM."""

    def __init__(self, endpoint: Endpoint, budget: Budget, credentials: Credentials) -> None:
        self._door = Door(
            endpoint.rest, OneUsersBudget(budget),
            allowed=reads((_TIME, _ACCOUNTS, _PERMISSIONS)), is_403_regional=True, key_codes={"PERMISSION_DENIED"},
        )  # fmt: skip
        self._name = credentials.api_key
        try:
            self._private_key = read(credentials.api_secret)
        except InvalidInput as error:
            raise CredentialsRejected(str(error)) from None
        self._now = VenueNow(lambda: int(shaped(self._door.fetch(_TIME), _Time).epochMillis))

    def rights(self) -> KeyRights:
        """Trading and transferring, as far as they are granted."""
        said = shaped(self._asked(_PERMISSIONS), _Permissions)
        granted = {"trade": said.can_trade, "transfer": said.can_transfer}
        return KeyRights(tuple(name for name, is_granted in granted.items() if is_granted))

    def balances(self) -> Sequence[Balance]:
        """Assets of which there is some, in the key's portfolio."""
        accounts: list[_Account] = []
        cursor = ""
        for _ in range(_MOST_PAGES):
            page = shaped(self._asked(_ACCOUNTS, limit=_PER_PAGE, **({"cursor": cursor} if cursor else {})), _Accounts)
            accounts += page.accounts
            cursor = page.cursor
            if not page.has_next or not cursor:
                break
        else:
            raise RemoteProtocolError("the list of accounts does not end")
        none = Decimal(0)
        return gathered((a.currency, a.available_balance.value, a.hold.value if a.hold else none) for a in accounts)

    def _asked(self, path: str, **params: Any) -> Any:
        return self._door.decoded(self._door.get(self._door.base + path, params=params, auth=self._sign))

    def _sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        address = urlsplit(str(request.url))
        uri = f"{request.method} {address.netloc}{address.path}"
        now = Nanos(self._now.ms() * NANOS_PER_MS)
        signed = token(self._name, self._private_key, now, secrets.token_hex(16), uri)
        request.headers["Authorization"] = f"Bearer {signed}"
        return request
