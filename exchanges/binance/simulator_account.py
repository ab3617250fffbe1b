"""Binance's signed REST answers: an account and what its key may do, refused for the least mistake.

https://developers.binance.com/docs/binance-spot-api-docs/rest-api/request-security and `/errors`
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from exchanges.simulation.account import Account, Denied
from exchanges.simulation.stage import Stage

WINDOW_MS, LONGEST_WINDOW_MS, AHEAD_MS = 5_000, 60_000, 1_000
_MISSING = "Mandatory parameter '{}' was not sent, was empty/null, or malformed."


class AccountAnswers:
    """Answers the GETs that need a signature; `tells_rights` says whether there is a call for those of a key."""

    def __init__(self, stage: Stage, *, tells_rights: bool) -> None:
        self._stage = stage
        self.calls: dict[str, Callable[[web.Request], Any]] = {"/api/v3/account": self._account}
        if tells_rights:
            self.calls["/sapi/v1/account/apiRestrictions"] = self._restrictions

    def _account(self, request: web.Request) -> Any:
        account = self._signed(request)
        rows = [{"asset": a, "free": free, "locked": locked} for a, (free, locked) in account.balances.items()]
        return {
            "makerCommission": 10,
            "takerCommission": 10,
            "buyerCommission": 0,
            "sellerCommission": 0,
            "canTrade": True,  # of the account, whatever the key may do
            "canWithdraw": True,
            "canDeposit": True,
            "brokered": False,
            "updateTime": self._stage.now_us() // 1000,
            "accountType": "SPOT",
            "balances": [*rows, {"asset": "EMPTY", "free": "0.00000000", "locked": "0.00000000"}],
            "permissions": ["SPOT"],
            "uid": 354_937_868,
        }

    def _restrictions(self, request: web.Request) -> Any:
        account = self._signed(request)
        may_move = "transfer" in account.rights
        return {
            "ipRestrict": may_move,
            "createTime": 1_623_840_271_000,
            "enableReading": True,
            "enableWithdrawals": may_move,
            "enableInternalTransfer": may_move,
            "enableMargin": False,
            "enableFutures": False,
            "permitsUniversalTransfer": False,
            "enableVanillaOptions": False,
            "enableFixApiTrade": False,
            "enableFixReadOnly": True,
            "enableSpotAndMarginTrading": "trade" in account.rights,
            "enablePortfolioMarginTrading": False,
        }

    def _signed(self, request: web.Request) -> Account:
        """The account whose key signed the request; raises `Denied` for everything else."""
        if "X-MBX-APIKEY" not in request.headers:
            raise Denied(401, -2014, "API-key format invalid.")
        account = self._stage.accounts.get(request.headers["X-MBX-APIKEY"])
        if account is None or "read" not in account.rights:
            raise Denied(401, -2015, "Invalid API-key, IP, or permissions for action.")
        signed, mark, signature = request.query_string.rpartition("&signature=")
        if not mark:
            raise Denied(400, -1102, _MISSING.format("signature"))
        self._check_time(request.query)
        right = hmac.new(account.api_secret.encode(), signed.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(right, signature.lower()):
            raise Denied(400, -1022, "Signature for this request is not valid.")
        return account

    def _check_time(self, query: Mapping[str, str]) -> None:
        stamp, window = query.get("timestamp", ""), query.get("recvWindow", str(WINDOW_MS))
        if not stamp.isdecimal():
            raise Denied(400, -1102, _MISSING.format("timestamp"))
        if not window.isdecimal() or int(window) > LONGEST_WINDOW_MS:
            raise Denied(400, -1131, "recvWindow must be less than 60000")
        now_ms = self._stage.now_us() // 1000
        if int(stamp) >= now_ms + AHEAD_MS:
            raise Denied(400, -1021, "Timestamp for this request was 1000ms ahead of the server's time.")
        if now_ms - int(stamp) > int(window):
            raise Denied(400, -1021, "Timestamp for this request is outside of the recvWindow.")
