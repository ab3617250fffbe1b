"""Symbols: the markets of each exchange, and all that is known of one before it is followed."""

from __future__ import annotations

from typing import Annotated, Any

from django.db.models import Q
from django.http import HttpRequest
from ninja import Query, Router

from livermore.web import market_facts, markets
from symbols import universe
from symbols.models import ExchangeSymbol

router = Router(tags=["symbols"])
MOST = 5_000


@router.get("")
def list_symbols(
    request: HttpRequest,
    exchange: str = "",
    base: str = "",
    tier: int | None = None,
    q: Annotated[str, Query(max_length=65)] = "",
    limit: Annotated[int, Query(ge=1, le=MOST)] = 1000,
    offset: Annotated[int, Query(ge=0)] = 0,
) -> dict[str, Any]:
    """Markets that trade, of one exchange or base or tier; ranked within each exchange.

    `q` is how the canonical or native name begins, for a field that completes what is typed.
    """
    found = ExchangeSymbol.objects.trading().order_by("exchange", "rank", "name")
    if exchange:
        found = found.filter(exchange=markets.exchange(exchange))
    if base:
        found = found.filter(base=base.upper())
    if tier is not None:
        found = found.filter(tier=tier)
    if q:
        found = found.filter(Q(name__istartswith=q) | Q(native__istartswith=q))
    return {"count": found.count(), "symbols": [market_facts.row(s) for s in found[offset : offset + limit]]}


@router.get("/common")
def list_common(
    request: HttpRequest,
    least: Annotated[int, Query(ge=1, le=100)] = 2,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 100,
) -> dict[str, Any]:
    """Assets that trade at `least` exchanges or more: turnover in dollars, times the number of exchanges, decides."""
    found = universe.common(least)[:limit]
    return {
        "assets": [
            {"base": a.base, "turnover_usd_24h": str(a.turnover_usd), "exchanges": a.exchanges, "score": str(a.score)}
            for a in found
        ]
    }


@router.get("/{exchange}/{symbol}")
def one_symbol(request: HttpRequest, exchange: str, symbol: str) -> dict[str, Any]:
    """One market, however its name is written: price, spread, liquidity, venues, and why it is streamed."""
    row = markets.market(exchange, symbol)
    return {
        **market_facts.row(row),
        "metrics": market_facts.metrics(row),
        "why": market_facts.why(row, request.user),
        **market_facts.warmth(row),
    }
