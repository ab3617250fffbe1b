"""Candles and indicators; decimals travel as strings, every value says how old it is."""

from __future__ import annotations

from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Query, Router

from livermore.web import markets, series
from livermore.web.observed import now_ms

router = Router(tags=["market"])
Limit = Annotated[int, Query(ge=1, le=series.MOST)]


@router.get("/candles/{exchange}/{symbol}")
def list_candles(
    request: HttpRequest,
    exchange: str,
    symbol: str,
    timeframe: str = "5m",
    from_ms: Annotated[int | None, Query(alias="from")] = None,
    to_ms: Annotated[int | None, Query(alias="to")] = None,
    limit: Limit = series.DEFAULT_LIMIT,
    include: Annotated[str, Query(pattern="^(provenance)?$")] = "",
) -> dict[str, Any]:
    """Closed candles whose open lies in `[from, to)` (epoch ms), oldest first, and the forming one.

    `sources` counts where they came from: the shared window, the caller's own overflow (`window` is both), the
    database, and the caller's own keys of the predecessor while these are being migrated.

    With `include=provenance` each says how many executions it is made of and how many of them the venue
    confirmed, its first and last trade id, when it was recorded and compared, and in which fields it differed
    from the venue's own.
    """
    frame = markets.timeframe(timeframe)
    market = markets.market(exchange, symbol)
    found = series.read(market, frame, limit=limit, from_ms=from_ms, to_ms=to_ms, user=request.user.pk)
    behind = series.provenance(market, frame, found.candles) if include else {}
    now = now_ms()
    return {
        "exchange": exchange,
        "symbol": market.name,
        "timeframe": frame,
        "now_ms": now,
        "sources": found.sources,
        "candles": [series.public(c, now) | _behind(behind, c.open_ms) for c in found.candles],
        "forming": series.forming(market, frame),
    }


def _behind(known: dict[int, dict[str, Any]], open_ms: int) -> dict[str, Any]:
    return {"provenance": known[open_ms]} if open_ms in known else {}
