"""The latency page: how old each exchange's prices of an asset are, and who moves first; the API tells the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import redis
from django.contrib.auth.decorators import login_required
from django.db.models import Count, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from candles.models import Candle
from exchanges.models import Exchange
from livermore.core.candle import BASE_TIMEFRAME, BUCKET_MS
from livermore.core.errors import StoreUnavailable
from livermore.watch import first, latency, moves
from livermore.watch.first import Lead
from livermore.watch.latency import WINDOWS
from livermore.web import markets
from livermore.web.observed import now_ms
from symbols.models import ExchangeSymbol

DEFAULT_WINDOW = "1h"


def report(base: str, window: str) -> dict[str, Any]:
    """What the API tells of a base; `window` is one of `WINDOWS`. Raises `StoreUnavailable`."""
    now = now_ms()
    span = WINDOWS[window]
    traded = sorted(latency.quotes(base), key=lambda q: (q.exchange, q.symbol))
    shown = {(q.exchange, q.symbol) for q in moves.one_each(traded)}
    rates = _trades_per_s(base, span.from_ms(now))
    found = moves.of(base, span.from_ms(now))
    pairs = {by: first.leads(found, by_arrival=by == "arrival") for by in ("arrival", "venue")}
    firsts = {by: first.firsts(found, by_arrival=by == "arrival") for by in ("arrival", "venue")}
    return {
        "now_ms": now,
        "base": base,
        "window": window,
        "from_ms": span.from_ms(now),
        "markets": [
            asdict(its)
            | {
                "age_ms": max(0, now - its.newest_ms),
                "trades_per_s": rates.get((its.exchange, its.symbol)),
                "is_compared": (its.exchange, its.symbol) in shown,
            }
            for its in latency.summed(traded, span, now)
        ],
        "moves": len(found),
        "newest_move_ms": found[-1].at_ms if found else None,
        "move_bps": first.MOVE_BPS,
        "enough": first.ENOUGH,
        "first": [
            {"exchange": name, **{by: _lead(firsts[by].get(name)) for by in firsts}}
            for name in sorted({name for its in firsts.values() for name in its})
        ],
        "pairs": [
            {"exchange": a, "other": b, **{by: _lead(pairs[by].get((a, b))) for by in pairs}}
            for a, b in sorted({pair for its in pairs.values() for pair in its})
        ],
    }


def _lead(lead: Lead | None) -> dict[str, Any]:
    lead = lead or Lead(0, 0, 0)
    share = None if lead.share is None else round(lead.share, 4)
    return {"moves": lead.moves, "first": lead.first, "behind": lead.behind, "ties": lead.ties, "share": share}


def _trades_per_s(base: str, from_ms: int) -> dict[tuple[str, str], float]:
    """From the closed candles of the window that were folded from trades."""
    listed = ExchangeSymbol.objects.filter(base=base).values_list("pk", "exchange_id", "name")
    places = {pk: (slug, name) for pk, slug, name in listed}
    closed = Candle.objects.filter(
        symbol__in=places, timeframe=str(BASE_TIMEFRAME), open_ms__gte=from_ms, trades__isnull=False
    )
    counted = closed.order_by().values_list("symbol").annotate(Sum("trades"), Count("id"))
    return {places[pk]: round(trades * 1000 / (BUCKET_MS * bars), 2) for pk, trades, bars in counted}


# ---- the page ------------------------------------------------------------------------------------


@require_safe
@login_required
def page(request: HttpRequest) -> HttpResponse:
    """Ages and who moves first, of one base in one window."""
    bases = markets.bases()
    base = request.GET.get("base", "").strip().upper() or next(iter(bases), "")
    return render(request, "web/latency.html", {"bases": bases} | context(base, request.GET.get("window", "")))


def context(base: str, window: str) -> dict[str, Any]:
    """What the page's moving part shows; an unknown window is the usual one."""
    window = window if window in WINDOWS else DEFAULT_WINDOW
    chosen = {"base": base, "window": window, "windows": list(WINDOWS)}
    try:
        told = report(base, window)
    except (redis.RedisError, StoreUnavailable):
        return chosen | {"store_away": True}
    titles = dict(Exchange.objects.values_list("slug", "title"))
    rows = [its | {"title": titles.get(its["exchange"], its["exchange"])} for its in told["markets"]]
    return chosen | {"told": told, "rows": rows, "matrix": _matrix(told, titles)}


def _matrix(told: Mapping[str, Any], titles: Mapping[str, str]) -> dict[str, Any]:
    """A row an exchange: was it before the exchange of each column?"""
    names = sorted({its["exchange"] for its in told["markets"] if its["is_compared"]})
    pairs = {(pair["exchange"], pair["other"]): pair for pair in told["pairs"]}
    overall = {its["exchange"]: its for its in told["first"]}
    return {
        "titles": [titles.get(name, name) for name in names],
        "rows": [
            {
                "title": titles.get(name, name),
                "first": _cell(overall.get(name)),
                "cells": [_cell(pairs.get((name, other))) | {"is_itself": name == other} for other in names],
            }
            for name in names
        ],
    }


def _cell(told: Mapping[str, Any] | None) -> dict[str, Any]:
    """Percentages for people; `heat` is 0 to 5, the darker the more often first."""
    arrival, venue = ((told or {}).get(by) or _lead(None) for by in ("arrival", "venue"))
    share = arrival["share"]
    return {
        "arrival": arrival,
        "percent": _percent(share),
        "venue": _percent(venue["share"]),
        "heat": "" if share is None else min(5, int(share * 6)),
    }


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f} %"
