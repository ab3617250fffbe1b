"""Signals, newest first, in the public form of signals.md §4.6."""

from __future__ import annotations

from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Query, Router

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
