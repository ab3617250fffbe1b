"""Alerts of indicators, newest first, and what was kept back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Query, Router

from candles.models import Alert
from candles.notify.models import Delivery
from candles.services import alerts
from exchanges.models import Exchange
from livermore.web import markets
from livermore.web.observed import now_ms

router = Router(tags=["alerts"])


@router.get("")
def list_alerts(
    request: HttpRequest,
    exchange: str = "",
    symbol: str = "",
    timeframe: str = "",
    label: str = "",
    before: int | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> dict[str, Any]:
    """Alerts on MACD-V, the newest first, each as it now stands: `revised` tells what became of its bar.

    `delivery` tells of each of the caller's channels whether the alert is `owed`, `sent` or `dead` there.

    For the next page, give the last `id`, which is `next`, as `before`; `next` is null on the last page.
    """
    rows = Alert.objects.order_by("-id")
    if exchange:
        rows = rows.filter(exchange=markets.exchange(exchange))
    if symbol:
        rows = rows.filter(symbol=symbol.upper())
    if timeframe:
        rows = rows.filter(timeframe=markets.timeframe(timeframe))
    if label:
        rows = rows.filter(label=label)
    if before is not None:
        rows = rows.filter(pk__lt=before)
    now, found = now_ms(), list(rows[: limit + 1])
    page = found[:limit]
    told = _deliveries(request.user.pk, page)
    return {
        "now_ms": now,
        "alerts": [_alert(row, now) | {"delivery": told.get(str(row.event_id), {})} for row in page],
        "next": page[-1].pk if len(found) > limit else None,
    }


@router.get("/suppressed")
def list_suppressed(request: HttpRequest) -> dict[str, Any]:
    """By exchange and reason: how many alerts were kept back because their bars could not be trusted."""
    slugs = list(Exchange.objects.values_list("slug", flat=True))
    return {"now_ms": now_ms(), "suppressed": alerts.suppressed(slugs)}


def _alert(row: Alert, now: int) -> dict[str, Any]:
    return {"id": row.pk, **row.event, "age_ms": max(0, now - row.event["bar_close_time"])}


def _deliveries(user: int, rows: Sequence[Alert]) -> dict[str, dict[str, str]]:
    """By event: the caller's channels that were to tell it, and whether they did."""
    found: dict[str, dict[str, str]] = {}
    owed = Delivery.objects.filter(event_id__in=[str(row.event_id) for row in rows], channel__user=user)
    for event_id, name, state in owed.order_by("id").values_list("event_id", "channel__name", "state"):
        found.setdefault(event_id, {})[name] = state
    return found
