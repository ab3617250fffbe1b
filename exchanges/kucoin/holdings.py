"""A user's accounts at KuCoin, through kucoin-universal-sdk; signed as its signer does, stamped by KuCoin's clock.

    KC-API-SIGN        base64(HMAC SHA256(secret, <ms> + GET + <path?query>))
    KC-API-PASSPHRASE  base64(HMAC SHA256(secret, <passphrase>))

https://www.kucoin.com/docs-new/authentication, `/api-3470125` (accounts) and `/api-3470130` (the key)
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Sequence
from decimal import Decimal

import msgspec
import requests

from exchanges.clock import VenueNow
from exchanges.holdings import Balance, Credentials, KeyRights, gathered
from exchanges.http import Door, OneUsersBudget, reads, shaped
from exchanges.kucoin.rest import KucoinRest, account_api
from exchanges.venue import Budget, Endpoint
from livermore.core.errors import CredentialsRejected

_WEIGHTS = {"/api/v1/user/api-key": 20, "/api/v1/accounts": 5}
"""Of the management pool, which is each account's own; counted with the public one here."""
_KEY_VERSION = "3"
_REFUSED_KEY = {"400001", "400003", "400004", "400005", "400006", "400007", "411100"}
"""A header missing, unknown key, passphrase, signature, address, permission, user frozen. `/error-code-description`"""


class _Key(msgspec.Struct):
    permission: str


class _Account(msgspec.Struct):
    currency: str
    available: Decimal
    holds: Decimal


class KucoinHoldings:
    """Fulfils `Holdings`: funding (main) and spot (trade) accounts together, as both are this user's here."""

    def __init__(self, endpoint: Endpoint, budget: Budget, credentials: Credentials) -> None:
        if not credentials.passphrase:
            raise CredentialsRejected("a key of KuCoin has a passphrase, chosen when it was made: enter it, too")
        self._credentials = credentials
        door = Door(
            endpoint.rest, OneUsersBudget(budget), allowed=reads(_WEIGHTS), weights=_WEIGHTS, key_codes=_REFUSED_KEY
        )
        self._api = account_api(door, self._sign)
        self._now = VenueNow(KucoinRest(endpoint, budget).time_ms)

    def rights(self) -> KeyRights:
        """Everything but General."""
        said = shaped(self._api.get_apikey_info(), _Key).permission.split(",")
        return KeyRights(tuple(name for part in said if (name := part.strip()) not in ("", "General")))

    def balances(self) -> Sequence[Balance]:
        """Assets of which there is some."""
        accounts = shaped(self._api.get_spot_account_list(None), list[_Account])
        return gathered((account.currency, account.available, account.holds) for account in accounts)

    def _sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        now_ms = str(self._now.ms())
        request.headers.update({
            "KC-API-KEY": self._credentials.api_key,
            "KC-API-SIGN": self._hmac(f"{now_ms}{request.method}{request.path_url}"),
            "KC-API-TIMESTAMP": now_ms,
            "KC-API-PASSPHRASE": self._hmac(self._credentials.passphrase),
            "KC-API-KEY-VERSION": _KEY_VERSION,
        })  # fmt: skip
        return request

    def _hmac(self, text: str) -> str:
        made = hmac.new(self._credentials.api_secret.encode(), text.encode(), hashlib.sha256)
        return b64encode(made.digest()).decode()
