"""Coinbase's private REST answers: accounts in pages and what a key may do, for a token signed for this one call.

https://docs.cdp.coinbase.com/coinbase-app/authentication-authorization/api-key-authentication
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from typing import Any

from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from exchanges.simulation.account import Account, Denied
from exchanges.simulation.stage import Stage

PATHS = ("accounts", "key_permissions")
PER_PAGE, MOST_PER_PAGE = 49, 250
LONGEST_S = 120
_ISSUERS = ("cdp", "coinbase-cloud")
_UNAUTHORIZED = Denied(401, "unauthorized", "Unauthorized")
_NUMBER_BYTES = 32


def account_answer(stage: Stage, path: str, request: web.Request) -> Any:
    """The answer to one of `PATHS`; raises `Denied`."""
    account = _signed(stage, request)
    if path == "key_permissions":
        return {
            "can_view": "read" in account.rights,
            "can_trade": "trade" in account.rights,
            "can_transfer": "transfer" in account.rights,
            "portfolio_uuid": "5b2c4e6a-0000-4000-8000-000000000001",
            "portfolio_type": "DEFAULT",
        }
    if "read" not in account.rights:
        raise Denied(403, "PERMISSION_DENIED", "Missing required scopes")
    return _page(account, request)


def _page(account: Account, request: web.Request) -> dict[str, Any]:
    assets = sorted(account.balances)
    try:
        limit = min(MOST_PER_PAGE, int(request.query.get("limit", PER_PAGE)))
        first = int(request.query.get("cursor") or 0)
    except ValueError:
        raise Denied(400, "INVALID_ARGUMENT", "limit or cursor is malformed") from None
    page, after = assets[first : first + limit], assets[first + limit :]
    rows = [_row(asset, *account.balances[asset]) for asset in page]
    return {"accounts": rows, "has_next": bool(after), "cursor": str(first + limit) if after else "", "size": len(rows)}


def _row(asset: str, free: str, locked: str) -> dict[str, Any]:
    return {
        "uuid": f"account-of-{asset}",
        "name": f"{asset} Wallet",
        "currency": asset,
        "available_balance": {"value": free, "currency": asset},
        "default": True,
        "active": True,
        "created_at": "2024-05-31T09:59:59Z",
        "updated_at": "2024-05-31T09:59:59Z",
        "deleted_at": None,
        "type": "ACCOUNT_TYPE_CRYPTO",
        "ready": True,
        "hold": {"value": locked, "currency": asset},
    }


def _signed(stage: Stage, request: web.Request) -> Account:
    """The account whose token this is; every mistake has the same answer."""
    scheme, _, jwt = request.headers.get("Authorization", "").partition(" ")
    try:
        signed, _, signature = jwt.rpartition(".")
        header, claims = (json.loads(_decoded(part)) for part in signed.split("."))
        account = stage.accounts[header["kid"]]
        is_ours = scheme == "Bearer" and header["alg"] == "ES256" and claims["sub"] == account.api_key
        if not is_ours or not _is_timely(stage, claims) or claims["iss"] not in _ISSUERS or not header["nonce"]:
            raise _UNAUTHORIZED
        if claims["uri"] != f"{request.method} {request.host}{request.path}":
            raise _UNAUTHORIZED
        _verify(account, signed, _decoded(signature))
    except (ValueError, KeyError, TypeError, InvalidSignature):
        raise _UNAUTHORIZED from None
    return account


def _is_timely(stage: Stage, claims: dict[str, Any]) -> bool:
    now_s = stage.now_us() / 1e6
    return claims["nbf"] <= now_s + 1 and now_s < claims["exp"] <= claims["nbf"] + LONGEST_S


def _verify(account: Account, signed: str, signature: bytes) -> None:
    private_key = load_pem_private_key(account.api_secret.encode(), password=None)
    if not isinstance(private_key, ec.EllipticCurvePrivateKey) or len(signature) != 2 * _NUMBER_BYTES:
        raise _UNAUTHORIZED
    numbers = (int.from_bytes(part, "big") for part in (signature[:_NUMBER_BYTES], signature[_NUMBER_BYTES:]))
    private_key.public_key().verify(encode_dss_signature(*numbers), signed.encode(), ec.ECDSA(SHA256()))


def _decoded(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))
