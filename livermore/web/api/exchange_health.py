"""How an exchange fares: health, incidents, activity, gaps, limits; and the stream hosts."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

from django.http import HttpRequest
from ninja import Query, Router

from candles.services import quality
from livermore.watch import activity, health, incidents, instances
from livermore.web import markets
from livermore.web.api.quality import list_gaps
from livermore.web.observed import now_ms, observe

router = Router(tags=["exchanges"])
Limit = Annotated[int, Query(ge=1, le=activity.MOST)]


@router.get("/exchanges/{slug}/health")
def show_health(request: HttpRequest, slug: str) -> dict[str, Any]:
    """Stream, lease, gaps, match rate, budgets, last error, incidents and uptime of an exchange.

    `uptime` is the share of the time it was to run in which data of at least half of its symbols came.
    """
    row, now = markets.exchange(slug), now_ms()
    scores = quality.scores(now - quality.DAY_MS, exchange=row.slug)
    rate = scores[0].match_rate if scores else None
    told = {"now_ms": now, **observe([row])[0].public(), **health.fares(row, now)}
    return told | {"match_rate": None if rate is None else round(rate, 6)}


@router.get("/exchanges/{slug}/incidents")
def list_incidents(
    request: HttpRequest, slug: str, days: Annotated[int, Query(ge=1, le=30)] = 30, limit: Limit = 100
) -> dict[str, Any]:
    """When data ceased to come unasked, and why, newest first; `to_ms` is null while it lasts."""
    row, now = markets.exchange(slug), now_ms()
    found = incidents.incidents(row.slug, now - days * incidents.DAY_MS)
    return {"now_ms": now, "incidents": [incident.public(now) for incident in found[:limit]]}


@router.get("/exchanges/{slug}/activity")
def list_activity(
    request: HttpRequest,
    slug: str,
    q: Annotated[str, Query(max_length=200)] = "",
    kind: Literal["", "edge", "command", "edit", "incident"] = "",
    limit: Limit = 100,
) -> dict[str, Any]:
    """What happened to an exchange, newest first: every edge of its stream, commands, edits of its row, incidents."""
    row = markets.exchange(slug)
    found = activity.entries(row, text=q, kind=kind, limit=limit)
    return {"now_ms": now_ms(), "entries": [asdict(entry) for entry in found]}


@router.get("/exchanges/{slug}/gaps")
def list_exchange_gaps(
    request: HttpRequest, slug: str, is_open: bool | None = None, before: int | None = None, limit: Limit = 100
) -> dict[str, Any]:
    """The gap ledger of an exchange, as `/gaps` tells it."""
    told: dict[str, Any] = list_gaps(request, exchange=slug, is_open=is_open, before=before, limit=limit)
    return told


@router.get("/exchanges/{slug}/limits")
def show_limits(request: HttpRequest, slug: str) -> dict[str, Any]:
    """What is spent of its budgets in their running windows, for all processes of this address together.

    `told` is what the venue last said to have counted. The rest are the limits of its row.
    """
    row = markets.exchange(slug)
    return {
        "now_ms": now_ms(),
        "budgets": health.gauges(row),
        "rest_weight": row.rest_weight,
        "rest_window_s": row.rest_window_s,
        "connects_per_5min": row.connects_per_5min,
        "topics_per_connection": row.topics_per_connection,
        "messages_per_second": str(row.messages_per_second),
        "verified": row.limits_verified_at.isoformat() if row.limits_verified_at else None,
        "source_url": row.limits_source_url or None,
    }


@router.get("/instances", tags=["instances"])
def list_instances(request: HttpRequest) -> dict[str, Any]:
    """The stream hosts, and those that were lost within a day: one without a heartbeat for ten seconds is `lost`."""
    now = now_ms()
    return {"now_ms": now, "instances": [asdict(its) for its in instances.instances(now)]}
