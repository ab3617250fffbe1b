"""How an exchange fares, in one value: its stream, who holds it, its gaps, budgets, incidents and uptime."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.db.models import Q

from candles.models import Gap
from exchanges import lease, observed, services
from exchanges.models import Exchange
from livermore.watch import activity
from livermore.watch.incidents import DAY_MS, SPANS_MS, Incident, incidents, uptime


def gauges(exchange: Exchange) -> list[dict[str, Any]]:
    """What is spent of each budget; `share` is of what it allows. Raises `StoreUnavailable`."""
    return [asdict(s) | {"share": round(s.spent / s.allowed, 4)} for s in services.spending(exchange)]


def holder(exchange: str) -> dict[str, Any] | None:
    """Who holds the exchange's lease, and what is known of that host; None when nobody does."""
    held = lease.holder(exchange)
    if held is None:
        return None
    host = observed.host(held.host)
    return {
        "host": held.host,
        "epoch": held.epoch,
        "region": host.region if host else "",
        "version": host.version if host else "",
        "heartbeat_ms": host.updated_ms if host else None,
    }


def gap_counts(exchange: str, now_ms: int) -> dict[str, int]:
    """How many gaps are open, and how many were opened within a day."""
    day_ns = (now_ms - DAY_MS) * 1_000_000
    rows = Gap.objects.filter(exchange=exchange)
    return {"open": rows.filter(closed_at=None).count(), "day": rows.filter(Q(to_ns__gte=day_ns)).count()}


def last_error(exchange: Exchange) -> dict[str, Any] | None:
    """The newest edge that something went wrong with; None when none is known."""
    newest = next(iter(activity.failures(exchange)), None)
    if newest is None:
        return None
    return {"at_ms": newest.at_ms, "what": newest.what, "reason": newest.detail, "host": newest.host}


def fares(exchange: Exchange, now_ms: int) -> dict[str, Any]:
    """All of it but the stream's own numbers. Raises `StoreUnavailable`."""
    found = incidents(exchange.slug, now_ms - SPANS_MS["30d"])
    return {
        "holder": holder(exchange.slug),
        "gaps": gap_counts(exchange.slug, now_ms),
        "limits": gauges(exchange),
        "last_error": last_error(exchange),
        "uptime": uptimes(exchange.slug, now_ms, found),
        "incidents_24h": sum(1 for i in found if i.to_ms is None or i.to_ms >= now_ms - DAY_MS),
        "open_incident": next((i.public(now_ms) for i in found if i.to_ms is None), None),
    }


def uptimes(exchange: str, now_ms: int, found: list[Incident]) -> dict[str, float | None]:
    """By span: the share, to six digits, None where it was not to run."""
    shares = {span: uptime(exchange, now_ms - length_ms, now_ms, found) for span, length_ms in SPANS_MS.items()}
    return {span: None if share is None else round(share, 6) for span, share in shares.items()}
