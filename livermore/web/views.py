"""The pages: overview, signals, symbol, exchange; and the parts of them that a live page asks for again."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import redis
from django.conf import settings
from django.contrib.auth.decorators import login_required, user_passes_test
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from candles.models import Gap
from exchanges.models import Exchange
from livermore import queues
from livermore.core.candle import BASE_TIMEFRAME
from livermore.core.errors import StoreUnavailable
from livermore.web import board, commands, exchange_health, latency, markets
from livermore.web.observed import StreamState, now_ms, observe

BOARD_LENGTH = 12
TABLE_LENGTH = 200


@require_safe
@login_required
def overview(request: HttpRequest) -> HttpResponse:
    """Exchanges, the newest signals, one asset at every exchange."""
    bases = markets.bases()
    base = request.GET.get("base", "").strip().upper() or next(iter(bases), "")
    context = _cards() | _board() | {"bases": bases} | _charts(base, bases)
    return render(request, "web/overview.html", context)


@require_safe
@login_required
def signals(request: HttpRequest) -> HttpResponse:
    """The newest signals, of all bases or one."""
    base = request.GET.get("base", "").strip().upper()
    return render(request, "web/signals.html", _board(TABLE_LENGTH, base) | {"base": base})


@require_safe
@login_required
def signal(request: HttpRequest, event_id: UUID) -> HttpResponse:
    """Everything a signal knows of itself."""
    event = board.one(event_id)
    if event is None:
        raise Http404("there is no such signal")
    parts = {name: value for name, value in event.items() if isinstance(value, dict)}
    facts = {name: value for name, value in event.items() if not isinstance(value, dict | list)}
    return render(request, "web/signal.html", {"board": [board.row_of(event)], "parts": {"event": facts, **parts}})


@require_safe
@login_required
def symbol(request: HttpRequest, base: str) -> HttpResponse:
    """One asset at every exchange that lists it, with its signals."""
    bases = markets.bases()
    context = _charts(base.upper(), bases) | _board(BOARD_LENGTH, base.upper()) | {"bases": bases}
    return render(request, "web/symbol.html", context, status=200 if context["markets"] else 404)


@require_safe
@login_required
def exchange(request: HttpRequest, slug: str) -> HttpResponse:
    """One exchange: its stream, its symbols, its open gaps, its commands."""
    row = Exchange.objects.filter(slug=slug).first()
    if row is None:
        raise Http404(f"there is no exchange {slug!r}")
    context = _cards([row]) | {
        "exchange": row,
        "symbols": row.symbols.streamed().order_by("tier", "rank", "name")[:100],
        "gaps": Gap.objects.filter(exchange=row, closed_at=None).order_by("-from_ns")[:50],
        "commands": _commands(row.slug),
        **exchange_health.fares(row),
        **exchange_health.of_activity(row, request.GET),
    }
    return render(request, "web/exchange.html", context)


@require_safe
@login_required
def part(request: HttpRequest, name: str) -> HttpResponse:
    """A part of a page as it would be now; the live page exchanges it in one step."""
    base = request.GET.get("base", "").upper()
    if name == "cards":
        slug = request.GET.get("slug", "")
        return render(request, "web/_cards.html", _cards(Exchange.objects.filter(slug=slug) if slug else None))
    if name == "board":
        length = TABLE_LENGTH if request.GET.get("all") else BOARD_LENGTH
        return render(request, "web/_board.html", _board(length, base) | {"base": base})
    if name in exchange_health.PARTS:
        return exchange_health.part(request, name)
    if name == "latency":
        return render(request, "web/_latency.html", latency.context(base, request.GET.get("window", "")))
    raise Http404("there is no such part")


@require_safe
@login_required
@user_passes_test(lambda user: user.is_staff, login_url="/admin/login/")
def flower(request: HttpRequest) -> HttpResponse:
    """Staff go on to Flower, where the tasks are shown."""
    if not settings.FLOWER_URL:
        raise Http404("Flower is not running here; FLOWER_URL is empty")
    return redirect(settings.FLOWER_URL)


def missing(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """The page for an address that does not exist."""
    # The resolver's own exception carries a table of all addresses; only a sentence of ours is shown.
    said = exception.args[0] if exception and exception.args else ""
    return render(request, "web/missing.html", {"why": said if isinstance(said, str) else ""}, status=404)


def _cards(rows: Any = None) -> dict[str, Any]:
    known = list(Exchange.objects.all() if rows is None else rows)
    try:
        observed = observe(known)
    except (redis.RedisError, StoreUnavailable):
        return {"cards": [], "store_away": True, "now_ms": now_ms()}
    return {
        "late_queues": _late(),
        "cards": list(zip(known, observed, strict=True)),
        "simulated": [s for s in observed if not s.is_idle and s.is_simulated],
        "overridden": [s for s in observed if s.endpoint_overridden],
        "all_idle": all(s.is_idle for s in observed),
        "first_command": _first_command(known, observed),
        "now_ms": now_ms(),
    }


def _late() -> list[queues.Waiting]:
    try:
        return queues.late()
    except StoreUnavailable:
        return []  # told by /health/ready; the cards do not need the broker


def _first_command(rows: list[Exchange], observed: list[StreamState]) -> str:
    return next((s.command for r, s in zip(rows, observed, strict=True) if r.enabled and s.command), "")


def _board(length: int = BOARD_LENGTH, base: str = "") -> dict[str, Any]:
    try:
        return {"board": board.rows(length, base), "all": length == TABLE_LENGTH}
    except (redis.RedisError, StoreUnavailable):
        return {"board": [], "store_away": True}


def _charts(base: str, bases: list[str]) -> dict[str, Any]:
    found = markets.of_base(base)
    near = [] if found else markets.nearest(base, bases)
    return {"base": base, "markets": found, "nearest": near, "timeframe": str(BASE_TIMEFRAME)}


def _commands(slug: str) -> list[dict[str, Any]]:
    try:
        return commands.newest(slug, 20)
    except (redis.RedisError, StoreUnavailable):
        return []
