"""MEXC's signed REST answer about an account: like Binance's, with codes and rules of its own.

https://www.mexc.com/api-docs/spot-v3/general-info#signed
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from exchanges.simulation.account import Account, Denied
from exchanges.simulation.stage import Stage

WINDOW_MS, LONGEST_WINDOW_MS, AHEAD_MS = 5_000, 60_000, 1_000
_MISSING = "Mandatory parameter '{}' was not sent, was empty/null, or malformed."


def account_row(stage: Stage, request: web.Request) -> Any:
    """What the key's account holds; raises `Denied`."""
    account = _signed(stage, request)
    rows = [{"asset": a, "free": free, "locked": locked} for a, (free, locked) in account.balances.items()]
    return {
        "canTrade": True,  # of the account, whatever the key may do
        "canWithdraw": True,
        "canDeposit": True,
        "updateTime": None,
        "accountType": "SPOT",
        "balances": rows,
        "permissions": ["SPOT"],
    }


def _signed(stage: Stage, request: web.Request) -> Account:
    """The account whose key signed the request; the signature must be last and in lower case."""
    if "X-MEXC-APIKEY" not in request.headers:
        raise Denied(400, 400, "api key required")
    account = stage.accounts.get(request.headers["X-MEXC-APIKEY"])
    if account is None:
        raise Denied(400, 10072, "Api key info invalid")
    signed, mark, signature = request.query_string.rpartition("&signature=")
    if not mark:
        raise Denied(400, 700_004, _MISSING.format("signature"))
    _check_time(request.query, stage.now_us() // 1000)
    right = hmac.new(account.api_secret.encode(), signed.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(right, signature):
        raise Denied(400, 700_002, "Signature for this request is not valid.")
    if "read" not in account.rights:
        raise Denied(400, 700_007, "No permission to access the endpoint.")
    return account


def _check_time(query: Mapping[str, str], now_ms: int) -> None:
    stamp, window = query.get("timestamp", ""), query.get("recvWindow", str(WINDOW_MS))
    if not stamp.isdecimal():
        raise Denied(400, 700_004, _MISSING.format("timestamp"))
    if not window.isdecimal() or int(window) > LONGEST_WINDOW_MS:
        raise Denied(400, 700_005, "recvWindow must less than 60000")
    if int(stamp) >= now_ms + AHEAD_MS or now_ms - int(stamp) > int(window):
        raise Denied(400, 700_003, "Timestamp for this request is outside of the recvWindow.")
