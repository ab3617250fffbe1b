"""How good the candles are: match rates, gaps, and the candles that differed from the venue's own."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Query, Router

from candles.models import Gap, Mismatch
from candles.services import quality
from livermore.web import markets
from livermore.web.observed import now_ms

router = Router(tags=["quality"])
Limit = Annotated[int, Query(ge=1, le=1000)]
LONGEST_H = 24 * 31


@router.get("/quality")
def list_scores(
    request: HttpRequest,
    exchange: str = "",
    symbol: str = "",
    by: Annotated[str, Query(pattern="^(exchange|symbol)$")] = "exchange",
    hours: Annotated[int, Query(ge=1, le=LONGEST_H)] = 24,
) -> dict[str, Any]:
    """Match rate by field, verdicts, coverage and gaps of the 5m candles of the last hours, worst first.

    `match_rate`: of the candles we vouched for, the share equal to the venue's own when first compared;
    `standing_rate`: equal now.
    """
    if exchange:
        markets.exchange(exchange)
    now = now_ms()
    since_ms = now - hours * 3_600_000
    is_fine = by == "symbol" or bool(symbol)
    found = quality.scores(since_ms, exchange=exchange, symbol=symbol.upper(), by_symbol=is_fine)
    return {"now_ms": now, "since_ms": since_ms, "scores": [score.public() for score in found]}


@router.get("/quality/mismatches")
def list_mismatches(
    request: HttpRequest, exchange: str = "", is_open: bool | None = None, before: int | None = None, limit: Limit = 100
) -> dict[str, Any]:
    """Candles that differed from the venue's own, the newest first, with both values of each field.

    For the next page, give the last `id` as `before`.
    """
    rows = Mismatch.objects.select_related("symbol").order_by("-id")
    if exchange:
        rows = rows.filter(symbol__exchange=markets.exchange(exchange))
    if is_open is not None:
        rows = rows.filter(mended_at__isnull=is_open)
    if before is not None:
        rows = rows.filter(pk__lt=before)
    return {"now_ms": now_ms(), "mismatches": [_mismatch(row) for row in rows[:limit]]}


@router.get("/gaps")
def list_gaps(
    request: HttpRequest,
    exchange: str = "",
    symbol: str = "",
    is_open: bool | None = None,
    before: int | None = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    """The gap ledger, the newest first: interval, cause, method of repair and proof.

    For the next page, give the last `id` as `before`.
    """
    rows = Gap.objects.order_by("-id")
    if exchange:
        rows = rows.filter(exchange=markets.exchange(exchange))
    if symbol:
        rows = rows.filter(symbol=symbol.upper())
    if is_open is not None:
        rows = rows.filter(closed_at__isnull=is_open)
    if before is not None:
        rows = rows.filter(pk__lt=before)
    return {"now_ms": now_ms(), "gaps": [_gap(row) for row in rows[:limit]]}


def _gap(row: Gap) -> dict[str, Any]:
    return {
        "id": row.pk,
        "exchange": row.exchange_id,
        "symbol": row.symbol or None,
        "from_ns": row.from_ns,
        "to_ns": row.to_ns,
        "cause": row.cause,
        "connection": row.connection or None,
        "opened_ms": _ms(row.opened_at),
        "closed_ms": _ms(row.closed_at),
        "method": row.method or None,
        "proof": row.proof or None,
    }


def _mismatch(row: Mismatch) -> dict[str, Any]:
    return {
        "id": row.pk,
        "exchange": row.symbol.exchange_id,
        "symbol": row.symbol.name,
        "timeframe": row.timeframe,
        "open_time": row.open_ms,
        "fields": {name: {"ours": ours, "venue": theirs} for name, (ours, theirs) in row.fields.items()},
        "found_ms": _ms(row.found_at),
        "mended_ms": _ms(row.mended_at),
        "method": row.method or None,
    }


def _ms(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp() * 1000)
