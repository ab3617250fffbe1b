"""How the exchanges fare, for people: the table of all, the parts of one's page, its activity as CSV, the hosts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import redis
from django.contrib.auth.decorators import login_required
from django.core.cache import cache
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_safe

from candles.services import quality
from candles.services.quality import DAY_MS, Score
from exchanges.models import Exchange
from livermore.core.errors import StoreUnavailable
from livermore.watch import activity, health, incidents, instances
from livermore.web.observed import now_ms, observe

ACTIVITY_SHOWN = 100
INCIDENTS_SHOWN = 20
RATES_FOR_S = 30
_AWAY = (redis.RedisError, StoreUnavailable)


@require_safe
@login_required
def overview(request: HttpRequest) -> HttpResponse:
    """Every exchange in a row."""
    return render(request, "web/exchanges.html", fleet())


@require_safe
@login_required
def hosts(request: HttpRequest) -> HttpResponse:
    """The stream hosts: where they are, what they run, how they are connected."""
    return render(request, "web/instances.html", instance_rows())


@require_safe
@login_required
def activity_csv(request: HttpRequest, slug: str) -> HttpResponseBase:
    """The activity that the page would show, as a file."""
    row = Exchange.objects.filter(slug=slug).first()
    if row is None:
        raise Http404(f"there is no exchange {slug!r}")
    try:
        text = activity.as_csv(shown_activity(row, request.GET)["activity"])
    except _AWAY:
        return HttpResponse("the state Redis does not answer", status=503, content_type="text/plain")
    answer = HttpResponse(text, content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{row.slug}-activity.csv"'
    return answer


PARTS = frozenset({"fleet", "instances", "health", "activity"})


def part(request: HttpRequest, name: str) -> HttpResponse:
    """One of `PARTS` as it is now."""
    if name == "fleet":
        return render(request, "web/_fleet.html", fleet())
    if name == "instances":
        return render(request, "web/_instances.html", instance_rows())
    row = Exchange.objects.filter(slug=request.GET.get("slug", "")).first()
    if row is None:
        raise Http404("there is no such exchange")
    if name == "health":
        return render(request, "web/_health.html", fares(row))
    return render(request, "web/_activity.html", of_activity(row, request.GET))


# ---- what the templates get ----------------------------------------------------------------------


def fleet() -> dict[str, Any]:
    """A row an exchange."""
    rows, now = list(Exchange.objects.all()), now_ms()
    try:
        rates = match_rates(now)
        return {
            "now_ms": now,
            "fleet": [
                {"stream": stream, "match": rates.get(row.slug, "–"), **_shown(health.fares(row, now))}
                for row, stream in zip(rows, observe(rows), strict=True)
            ],
        }
    except _AWAY:
        return {"store_away": True, "now_ms": now}


def match_rates(now: int) -> dict[str, str]:
    """By exchange, of the last 24 hours; counted anew every half minute, since a whole day's candles are read."""
    scores: list[Score] = cache.get_or_set("match_rates", lambda: quality.scores(now - DAY_MS), RATES_FOR_S)
    return {score.exchange: _percent(score.match_rate) for score in scores}


def fares(row: Exchange) -> dict[str, Any]:
    """The part of an exchange's page that is about its health."""
    now = now_ms()
    try:
        told = _shown(health.fares(row, now))
    except _AWAY:
        return {"store_away": True, "now_ms": now}
    found = incidents.incidents(row.slug, now - incidents.SPANS_MS["30d"])
    return {
        "now_ms": now,
        "exchange": row,
        "health": told,
        "match": match_rates(now).get(row.slug, "–"),
        "incidents": [i.public(now) | {"began": _when(i.from_ms)} for i in found[:INCIDENTS_SHOWN]],
        "more_incidents": max(0, len(found) - INCIDENTS_SHOWN),
    }


def of_activity(row: Exchange, asked: Mapping[str, str]) -> dict[str, Any]:
    """The part of an exchange's page that is about what happened."""
    try:
        told = shown_activity(row, asked)
    except _AWAY:
        return {"exchange": row, "store_away": True}
    rows = [asdict(entry) | {"when": _when(entry.at_ms)} for entry in told["activity"]]
    return {"exchange": row, "rows": rows, **told}


def shown_activity(row: Exchange, asked: Mapping[str, str]) -> dict[str, Any]:
    """The entries that hold the text `q`, of one `kind` where one is named that exists. Raises `StoreUnavailable`."""
    text, kind = asked.get("q", "").strip()[:200], asked.get("kind", "")
    kind = kind if kind in activity.KINDS else ""
    found = activity.entries(row, text=text, kind=kind, limit=ACTIVITY_SHOWN)
    return {"activity": found, "q": text, "kind": kind, "kinds": activity.KINDS}


def instance_rows() -> dict[str, Any]:
    """The hosts."""
    now = now_ms()
    try:
        return {"instances": instances.instances(now), "now_ms": now}
    except _AWAY:
        return {"store_away": True, "now_ms": now}


def _shown(told: dict[str, Any]) -> dict[str, Any]:
    for gauge in told["limits"]:
        gauge["high"] = 8 * gauge["allowed"] // 10
        gauge["percent"] = f"{100 * gauge['share']:.0f} %"
    shares = {span: _percent(share) for span, share in told["uptime"].items()}
    return told | {"uptime": shares, "day": shares["24h"], "month": shares["30d"]}


def _when(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"


def _percent(share: float | None) -> str:
    """Cut, not rounded: 100 % means all of it."""
    return "–" if share is None else "100 %" if share >= 1 else f"{int(share * 100_000) / 1_000:.3f} %"
