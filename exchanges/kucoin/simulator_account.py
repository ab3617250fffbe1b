"""KuCoin's signed REST answers: an account and what its key may do, with its four headers checked in order.

https://www.kucoin.com/docs-new/authentication and `/error-code-description`
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from typing import Any

from aiohttp import web

from exchanges.simulation.account import Account, Denied
from exchanges.simulation.stage import Stage

AHEAD_OR_BEHIND_MS = 5_000
PATHS = ("/api/v1/user/api-key", "/api/v1/accounts")
_HEADERS = ("KC-API-KEY", "KC-API-SIGN", "KC-API-TIMESTAMP", "KC-API-PASSPHRASE")
_PERMISSIONS = {"read": "General", "trade": "Spot", "transfer": "InnerTransfer"}


def account_answer(stage: Stage, request: web.Request) -> Any:
    """The data of the answer to one of `PATHS`; raises `Denied`."""
    account = _signed(stage, request)
    if request.path == "/api/v1/user/api-key":
        return {
            "remark": "positions",
            "apiKey": account.api_key,
            "apiVersion": 3,
            "permission": ",".join(name for right, name in _PERMISSIONS.items() if right in account.rights),
            "ipWhitelist": "",
            "createdAt": 1_747_298_529_000,
            "uid": 248_424_222,
            "isMaster": True,
        }
    rows = []
    for number, (currency, (free, locked)) in enumerate(account.balances.items()):
        trade, main = f"{number:024x}", f"{number + 4096:024x}"
        row = {"id": trade, "currency": currency, "type": "trade", "available": free, "holds": locked}
        rows += [row, row | {"id": main, "type": "main", "available": "0", "holds": "0"}]
    return rows


def _signed(stage: Stage, request: web.Request) -> Account:
    """The account whose key signed the request."""
    if any(not request.headers.get(name) for name in _HEADERS):
        raise Denied(400, "400001", f"Please check the header of your request for {', '.join(_HEADERS)}")
    key, sign, stamp, passphrase = (request.headers[name] for name in _HEADERS)
    now_ms = stage.now_us() // 1000
    if not stamp.isdecimal() or abs(now_ms - int(stamp)) > AHEAD_OR_BEHIND_MS:
        raise Denied(400, "400002", "Invalid KC-API-TIMESTAMP")
    account = stage.accounts.get(key)
    if account is None:
        raise Denied(401, "400003", "KC-API-KEY not exists")
    if request.headers.get("KC-API-KEY-VERSION") not in ("2", "3") or passphrase != _hmac(account, account.passphrase):
        raise Denied(401, "400004", "Invalid KC-API-PASSPHRASE")
    if sign != _hmac(account, f"{stamp}{request.method}{request.path_qs}"):
        raise Denied(401, "400005", "Invalid KC-API-SIGN")
    if "read" not in account.rights:
        raise Denied(403, "400007", "Access denied, require more permission")
    return account


def _hmac(account: Account, text: str) -> str:
    return b64encode(hmac.new(account.api_secret.encode(), text.encode(), hashlib.sha256).digest()).decode()
