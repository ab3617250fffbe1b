"""The signal board: the newest signals, told in the follower's terms."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from candles.models import Signal
from exchanges.state import state_redis
from livermore.core import keys

# The stream is ahead of the table by the time of one task; this many of its entries cover that.
NEWEST_ENTRIES = 200


@dataclass(frozen=True, slots=True)
class Row:
    """One signal as a person reads it. Bps are text with at most one decimal; None where not said.

    Once closed, `remaining` is the peak that was left, and `best` how far the local price then went.
    """

    event_id: str
    kind: str
    base: str
    direction: str
    leader: str
    follower: str
    window_s: int | None
    opened_ms: int
    closed_ms: int | None
    is_open: bool
    outcome: str
    duration_ms: int | None
    leader_move: str | None
    follower_move: str | None
    remaining: str | None
    net_entry: str | None
    best: str | None
    home_url: str
    order: float

    @property
    def glyph(self) -> str:
        """Direction without colour."""
        return {"up": "▲", "down": "▼"}.get(self.direction, "◆")


def events(limit: int, base: str = "") -> list[dict[str, Any]]:
    """The newest event of each signal, newest signal first: the table, overlaid by the stream."""
    stored = Signal.objects.filter(base=base) if base else Signal.objects.all()
    merged = {str(s.event_id): _complete(s.event, s) for s in stored[:limit]}
    for _, fields in reversed(state_redis().xrevrange(keys.signals_stream(), count=NEWEST_ENTRIES)):
        event = json.loads(fields[b"event"])
        if base and event.get("base") != base:
            continue
        merged[event["event_id"]] = merged.get(event["event_id"], {}) | event
    return sorted(merged.values(), key=opened_ms, reverse=True)[:limit]


def one(event_id: UUID) -> dict[str, Any] | None:
    """The newest event of a signal, None when it is neither stored nor among the newest."""
    stored = Signal.objects.filter(pk=event_id).first()
    if stored is not None:
        return _complete(stored.event, stored)
    return next((e for e in events(NEWEST_ENTRIES) if e["event_id"] == str(event_id)), None)


def rows(limit: int, base: str = "") -> list[Row]:
    """The board: open signals by what is left for a local buyer, then closed ones, newest first."""
    return sorted((row_of(e) for e in events(limit, base)), key=lambda r: (not r.is_open, -r.order))


def row_of(event: Mapping[str, Any]) -> Row:
    """An event of signals.md §4.6 as a row; kinds without a move leave its columns empty."""
    metrics, costs = event.get("metrics") or {}, event.get("costs") or {}
    is_open = event.get("phase") != "closed"
    began_ms = opened_ms(event)
    left = metrics.get("remaining_bps", metrics.get("gap_bps_normalised"))
    home_url = str((event.get("links") or {}).get("home") or "")
    return Row(
        event_id=str(event.get("event_id", "")),
        kind=str(event.get("kind", "")),
        base=str(event.get("base", "")),
        direction=str(event.get("direction", "")),
        leader=str((event.get("leader") or {}).get("exchange", "")),
        follower=str((event.get("follower") or {}).get("exchange", "")),
        window_s=event.get("window_s"),
        opened_ms=began_ms,
        closed_ms=event.get("closed_ms"),
        is_open=is_open,
        outcome=str(event.get("outcome") or ""),
        duration_ms=event.get("duration_ms"),
        leader_move=_bps(metrics.get("move_leader_bps"), signed=True),
        follower_move=_bps(metrics.get("move_follower_bps"), signed=True),
        remaining=_bps(left if is_open else event.get("peak_remaining_bps")),
        net_entry=_bps(costs.get("net_entry_bps"), signed=True) if is_open else None,
        best=None if is_open else _bps(event.get("mfe_bps"), signed=True),
        home_url=home_url if home_url.startswith("https://") else "",
        order=float(costs.get("net_entry_bps") or 0) if is_open else float(began_ms),
    )


def _complete(event: dict[str, Any], stored: Signal) -> dict[str, Any]:
    """The public event with what only the row knows."""
    return {
        "event_id": str(stored.event_id),
        "phase": stored.phase,
        "opened_ms": stored.opened_ms,
        "closed_ms": stored.closed_ms,
        "outcome": stored.outcome or None,
    } | event


def opened_ms(event: Mapping[str, Any]) -> int:
    """When the signal began, by the exchange's clock; 0 when it does not say."""
    leader = event.get("leader") or {}
    return int(event.get("opened_ms") or event.get("onset_ms") or leader.get("ts_exchange") or 0)


def _bps(text: object, *, signed: bool = False) -> str | None:
    if text is None:
        return None
    try:
        number = Decimal(str(text))
    except InvalidOperation:
        return None
    return f"{number:+.1f}" if signed else f"{number:.1f}"
