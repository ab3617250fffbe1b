"""What the caller holds, exchange by exchange: nothing here adds up what lies at different ones."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema

from exchanges.models import UserExchange
from livermore.core.exact import plain
from livermore.web.observed import now_ms
from symbols.models import Position

router = Router(tags=["positions"])


class PositionOut(Schema):
    """An asset at one exchange, from an account of the caller (`account` is its label) or from a file.

    `symbol` is the market followed for it until `until_ms` (null: without end), null for cash, dust and what is not
    traded there. `value_usd` is about, by the last hour's price.
    """

    asset: str
    source: str
    account: str | None
    free: str | None
    locked: str | None
    value_usd: str | None
    symbol: str | None
    seen_ms: int
    age_ms: int
    until_ms: int | None


class AccountOut(Schema):
    """An account of the caller: `new`, `read`, `failing` or `refused`, why, and when it was read last."""

    label: str
    state: str
    why: str
    read_ms: int | None


class ExchangeOut(Schema):
    """One exchange."""

    exchange: str
    accounts: list[AccountOut]
    positions: list[PositionOut]


class PositionsOut(Schema):
    """All exchanges at which the caller has an account or a file."""

    now_ms: int
    exchanges: list[ExchangeOut]


@router.get("", response=PositionsOut)
def list_positions(request: HttpRequest) -> dict[str, Any]:
    """The caller's own positions, by exchange and asset."""
    now = now_ms()
    found: dict[str, dict[str, Any]] = {}
    for account in UserExchange.objects.filter(user=request.user).order_by("exchange", "label"):
        _of(found, account.exchange_id)["accounts"].append(_account(account))
    rows = Position.objects.filter(user=request.user).select_related("symbol", "account")
    for row in rows.order_by("exchange", "asset", "pk"):
        _of(found, row.exchange_id)["positions"].append(_position(row, now))
    return {"now_ms": now, "exchanges": [found[slug] for slug in sorted(found)]}


def _of(found: dict[str, dict[str, Any]], slug: str) -> dict[str, Any]:
    return found.setdefault(slug, {"exchange": slug, "accounts": [], "positions": []})


def _account(row: UserExchange) -> dict[str, Any]:
    return {"label": row.label, "state": row.state, "why": row.state_why, "read_ms": _ms(row.read_at)}


def _position(row: Position, now: int) -> dict[str, Any]:
    seen_ms = int(row.seen_at.timestamp() * 1000)
    return {
        "asset": row.asset,
        "source": "account" if row.account else "file",
        "account": row.account.label if row.account else None,
        "free": None if row.free is None else plain(row.free),
        "locked": None if row.locked is None else plain(row.locked),
        "value_usd": None if row.value_usd is None else plain(row.value_usd),
        "symbol": row.symbol.name if row.symbol else None,
        "seen_ms": seen_ms,
        "age_ms": max(0, now - seen_ms),
        "until_ms": _ms(row.until),
    }


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp() * 1000)
