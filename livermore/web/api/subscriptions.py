"""What the caller follows: a symbol is added however it is written, and shows how far its history has come."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Field, Router, Schema, Status
from ninja.errors import HttpError

from livermore.web import market_facts, markets
from livermore.web.api.errors import Forbidden
from livermore.web.observed import now_ms
from symbols import following, services, tasks
from symbols.models import UserSymbolSubscription

router = Router(tags=["subscriptions"])


class Wish(Schema):
    """What to follow, and how long; pinned is for good."""

    exchange: str = Field(max_length=32)
    symbol: str = Field(min_length=1, max_length=65, description="Canonical or native, with or without separators.")
    days: int = Field(default=following.EXPIRES_DAYS, ge=1, le=following.LONGEST_DAYS)
    is_pinned: bool = False
    note: str = Field(default="", max_length=200)


@router.get("")
def list_subscriptions(request: HttpRequest) -> dict[str, Any]:
    """The caller's own, by exchange and rank, with how many candles each has by now."""
    rows = UserSymbolSubscription.objects.live().filter(user=request.user).select_related("symbol__exchange")
    ordered = rows.order_by("symbol__exchange", "symbol__rank", "symbol__name")
    return {"now_ms": now_ms(), "subscriptions": [_public(row) for row in ordered]}


@router.post("", response={201: dict[str, Any]})
def add_subscription(request: HttpRequest, wish: Wish) -> Status:
    """Follow a symbol by hand. Staff, or whoever has the permission to add subscriptions."""
    _may(request, "add")
    row = markets.exchange(wish.exchange)
    if not row.enabled:
        raise HttpError(409, f"{row.slug} is disabled; an operator enables it in the admin")
    found = following.add(
        request.user, row.slug, wish.symbol, days=wish.days, is_pinned=wish.is_pinned, note=wish.note
    )
    tasks.begin(found.symbol, request.user.get_username())
    return Status(201, _public(found) | {"metrics": market_facts.metrics(found.symbol)})


@router.delete("/{subscription_id}", response={200: dict[str, Any]})
def remove_subscription(request: HttpRequest, subscription_id: int) -> Status:
    """Take the reason "manual" away from one of the caller's own; other reasons keep it."""
    _may(request, "delete")
    row = UserSymbolSubscription.objects.filter(user=request.user, pk=subscription_id).first()
    if row is None:
        raise HttpError(404, f"you have no subscription {subscription_id}")
    left = services.unfollow(request.user, row.symbol, "manual")
    return Status(200, {"id": subscription_id, "reasons": left.reasons if left else []})


def _may(request: HttpRequest, what: str) -> None:
    if not (request.user.is_staff or request.user.has_perm(f"symbols.{what}_usersymbolsubscription")):
        raise Forbidden(f"only staff and users who may {what} subscriptions change them; ask an operator")


def _public(row: UserSymbolSubscription) -> dict[str, Any]:
    symbol = row.symbol
    return {
        "id": row.pk,
        "exchange": symbol.exchange_id,
        "symbol": symbol.name,
        "native": symbol.native,
        "tier": symbol.tier,
        "is_trading": symbol.is_trading,
        "source": row.source,
        "reasons": row.reasons,
        "expires_ms": None if row.expires_at is None else int(row.expires_at.timestamp() * 1000),
        "is_pinned": row.is_pinned,
        "note": row.note,
        **market_facts.warmth(symbol),
    }
