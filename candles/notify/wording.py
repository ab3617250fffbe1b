"""What a person reads of an event: one line for a chat, a title and the lines below it for a digest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from candles.notify.matching import Wish, is_alert, is_taken_back, net_bps

Event = Mapping[str, Any]

INCIDENT = "INCIDENT"
_GLYPHS = {"up": "▲", "down": "▼"}
LINES = 10
"""A message to a chat has no more lines, and so fits where 2,000 characters are the most; the rest is counted."""


def line(event: Event, wish: Wish | None = None) -> str:
    """One event in one line: what moved where, what is left at home after costs, how old it is."""
    if is_alert(event):
        return _alert(event)
    if event.get("kind") == INCIDENT:
        return _incident(event)
    leader, follower = event.get("leader") or {}, event.get("follower") or {}
    metrics = event.get("metrics") or {}
    words = [_GLYPHS.get(str(event.get("direction")), "◆"), str(event.get("base", "")), "·", _kind(event)]
    if event.get("phase") == "closed":
        return " ".join([*words, f"closed: {event.get('outcome') or 'without outcome'}", *_duration(event)])
    moved = metrics.get("move_leader_bps")
    window = f" in {event['window_s']} s" if event.get("window_s") else ""
    words.append(f"{leader.get('exchange', '')}{f' moved {_signed(moved)} bps{window}' if moved else ''}")
    if follower:
        words += ["·", f"{follower.get('exchange')} {follower.get('symbol')}"]
        words += [f"{_signed(metrics['move_follower_bps'])} bps"] if metrics.get("move_follower_bps") else []
    if metrics.get("remaining_bps"):
        words += ["·", f"{metrics['remaining_bps']} bps left"]
    net = net_bps(wish or Wish(), event)
    if net is not None:
        words += ["·", f"net {net} bps"]
    link = (event.get("links") or {}).get("home")
    return " ".join([*words, *([link] if link else [])])


def _alert(event: Event) -> str:
    glyph = _GLYPHS.get(str(event.get("direction")), "◆")
    where = f"{event['exchange']} {event['symbol']} {event['timeframe']}"
    what = f"{_kind(event)} {event['label'].replace('_', ' ')}"
    if is_taken_back(event):
        return f"{glyph} {where} · {what}: taken back, its bar was revised"
    return f"{glyph} {where} · {what} · {event['value']:+.1f} · {event['price']}"


def message(events: Sequence[tuple[Event, Wish | None]], *, is_digest: bool = False) -> tuple[str, str]:
    """Title and body for some events."""
    lines = [line(event, wish) for event, wish in events[:LINES]]
    left = len(events) - len(lines)
    if left:
        lines.append(f"… and {left} more: see /signals/")
    if len(events) == 1 and not is_digest:
        return "Livermore", lines[0]
    return f"Livermore: {len(events)} {'while you were not to be told' if is_digest else 'events'}", "\n".join(lines)


def _incident(event: Event) -> str:
    if event.get("phase") == "closed":
        return f"✔ {event['exchange']}: data come again {' '.join(_duration(event))}"
    return f"✖ {event['exchange']}: no data since {event['since']}: {event.get('cause') or 'the cause is not known'}"


def _kind(event: Event) -> str:
    return str(event.get("kind", "")).replace("_", " ").lower()


def _signed(bps: object) -> str:
    text = str(bps)
    return text if text.startswith("-") else f"+{text}"


def _duration(event: Event) -> list[str]:
    spent_ms = event.get("duration_ms")
    return [f"after {int(spent_ms) / 1000:.1f} s"] if spent_ms is not None else []
