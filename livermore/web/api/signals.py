"""Signals, newest first, in the public form of signals.md §4.6; how they went, and which were held back."""

from __future__ import annotations

import csv
from dataclasses import asdict
from typing import Annotated, Any

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router

from candles.services import regimes, scoreboard, signal_memory, standings
from candles.signals.price_gap import bounds
from livermore.web import board
from livermore.web.observed import now_ms

router = Router(tags=["signals"])


@router.get("")
def list_signals(
    request: HttpRequest, base: str = "", limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> dict[str, Any]:
    """The newest event of each signal; `phase` tells whether it is still open."""
    now = now_ms()
    found = board.events(limit, base.upper())
    return {"now_ms": now, "signals": [e | {"age_ms": max(0, now - board.opened_ms(e))} for e in found]}


@router.get("/suppressed")
def list_suppressed(
    request: HttpRequest,
    base: str = "",
    kind: str = "",
    reason: str = "",
    limit: Annotated[int, Query(ge=1, le=signal_memory.HELD_KEPT)] = 100,
) -> dict[str, Any]:
    """Why not: the newest candidates that were held back, with their reason and numbers; and all counts by reason."""
    wanted = {"base": base.upper(), "kind": kind.upper(), "reason": reason}
    found = [
        entry
        for entry in signal_memory.held(signal_memory.HELD_KEPT)
        if all(not value or entry[name] == value for name, value in wanted.items())
    ]
    return {"now_ms": now_ms(), "counts": signal_memory.counts(), "suppressed": found[:limit]}


@router.get("/scoreboard")
def list_scores(
    request: HttpRequest,
    base: str = "",
    kind: str = "",
    days: Annotated[int, Query(ge=1, le=366)] = scoreboard.DAYS,
    form: Annotated[str, Query(alias="format", pattern="^(json|csv)$")] = "json",
) -> Any:
    """How closed signals went, per kind, pair and hour of the day (UTC).

    `hit_rate` is the share that converged, `median_catchup_s` how long these took; `life_p50_s` and `life_p90_s` are
    of all of them.
    """
    now = now_ms()
    since_ms = now - days * scoreboard.DAY_MS
    wanted = {"base": base.upper(), "kind": kind.upper()}
    found = scoreboard.scores(since_ms, **{name: value for name, value in wanted.items() if value})
    if form == "json":
        return {"now_ms": now, "since_ms": since_ms, "scores": found}
    answer = HttpResponse(content_type="text/csv; charset=utf-8")
    rows = csv.DictWriter(answer, fieldnames=scoreboard.COLUMNS)
    rows.writeheader()
    rows.writerows(found)
    return answer


@router.get("/regimes")
def list_regimes(request: HttpRequest, base: str) -> dict[str, Any]:
    """Which venue led which in the last quarter hour; `status` says why a figure is missing (`not_enough_ticks`)."""
    return {"now_ms": now_ms(), "regimes": regimes.known(base.upper())}


@router.get("/standings")
def list_standings(request: HttpRequest, base: str) -> dict[str, Any]:
    """How far each two markets usually are apart (log bps of the first over the second), and the gap that is told."""
    known = standings.known(base.upper())
    rows = [
        {"leader": one, "follower": other, **asdict(usual), "enter_bps": bounds(usual).enter_bps}
        for (one, other), usual in sorted(known.items())
        if one < other
    ]
    return {"now_ms": now_ms(), "standings": rows}
