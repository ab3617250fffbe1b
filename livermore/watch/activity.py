"""What happened to an exchange: edges of its stream, commands, edits of its row, incidents; searchable, bounded."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, astuple, dataclass, fields
from datetime import UTC, datetime
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import Q

from exchanges.lifecycle import Event
from exchanges.models import Exchange
from exchanges.state import state_redis, unavailable
from livermore.core import keys
from livermore.watch import incidents
from livermore.watch.models import Activity
from livermore.web import commands

EDGE, COMMAND, EDIT, INCIDENT = "edge", "command", "edit", "incident"
KINDS = (EDGE, COMMAND, EDIT, INCIDENT)
KEPT_MS = 90 * incidents.DAY_MS
MOST = 1_000
"""Entries that one answer tells at most."""
_NEWEST = 200
_SEARCHED = 5_000
_FAILED = frozenset({Event.CLOSED, Event.REFUSED, Event.BLOCKED, Event.LOST, Event.CRASHING, Event.SILENT})
_ENDED = frozenset({"done", "failed", "expired"})


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: when (ms UTC), what kind of thing, what, by whom, in words; the host and its epoch where one did it.

    `key` names it among those of its exchange.
    """

    at_ms: int
    kind: str
    what: str
    actor: str = ""
    detail: str = ""
    host: str = ""
    epoch: int | None = None
    key: str = ""

    def has(self, text: str) -> bool:
        """Does any of its fields hold this text, whatever its case?"""
        return any(text in str(value).casefold() for value in astuple(self)[1:7] if value is not None)


def entries(exchange: Exchange, *, text: str = "", kind: str = "", limit: int = MOST) -> list[Entry]:
    """The newest that hold the text, newest first: what is stored, overlaid by what has just happened.

    Raises `StoreUnavailable`.
    """
    found = {entry.key: entry for entry in _stored(exchange, kind, _SEARCHED if text else MOST)}
    for entry in (*_edges(exchange), *_commands(exchange), *_edits(exchange), *_incidents(exchange)):
        if not kind or entry.kind == kind:
            found[entry.key] = entry
    wanted = [entry for entry in found.values() if entry.has(text.casefold())]
    return sorted(wanted, key=lambda e: (e.at_ms, e.key), reverse=True)[: min(limit, MOST)]


def failures(exchange: Exchange) -> list[Entry]:
    """The newest edges with which something went wrong, newest first. Raises `StoreUnavailable`."""
    found = _edges(exchange) or _stored(exchange, EDGE, _NEWEST)
    return [entry for entry in found if entry.what.partition(":")[0] in _FAILED]


def as_csv(told: Iterable[Entry]) -> str:
    """With a heading; the time also in words. A text that a spreadsheet would calculate is disarmed."""
    names = [field.name for field in fields(Entry)]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["time", *names])
    for entry in told:
        when = datetime.fromtimestamp(entry.at_ms / 1000, UTC).isoformat(timespec="milliseconds")
        writer.writerow([when, *(_disarmed(value) for value in astuple(entry))])
    return out.getvalue()


def _disarmed(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


# ---- where it comes from -------------------------------------------------------------------------


def _stored(exchange: Exchange, kind: str, limit: int) -> list[Entry]:
    rows = Activity.objects.filter(Q(kind=kind) if kind else Q(), exchange=exchange).order_by("-at_ms")
    names = [field.name for field in fields(Entry)]
    return [Entry(**values) for values in rows.values(*names)[:limit]]


@unavailable()
def _edges(exchange: Exchange) -> list[Entry]:
    found = state_redis().xrevrange(keys.activity(exchange.slug), count=_NEWEST)
    return [_edge(entry.decode(), json.loads(told[b"edge"])) for entry, told in found]


def _edge(entry: str, told: Mapping[str, Any]) -> Entry:
    what = f"{told['event']}: {told['before']} → {told['state']}"
    return Entry(told["at_ms"], EDGE, what, told["actor"], told["reason"], told["host"], told["epoch"], entry)


@unavailable()
def _commands(exchange: Exchange) -> list[Entry]:
    return [
        Entry(
            told["issued_ms"] or 0, COMMAND, f"{told['verb']} {told['symbol']}".strip()[:100], told["issued_by"],
            f"{told['status']}: {told['code']} {told['message']}".rstrip(": "), told["host"], None, told["id"],
        )
        for told in commands.newest(exchange.slug, _NEWEST)
    ]  # fmt: skip


def _edits(exchange: Exchange) -> list[Entry]:
    kind = ContentType.objects.get_for_model(Exchange)
    rows = LogEntry.objects.filter(content_type=kind, object_id=exchange.pk).select_related("user")
    return [
        Entry(int(row.action_time.timestamp() * 1000), EDIT, row.get_action_flag_display().lower(),
              row.user.get_username(), row.get_change_message(), "", None, f"edit-{row.pk}")
        for row in rows.order_by("-action_time")[:_NEWEST]
    ]  # fmt: skip


def _incidents(exchange: Exchange) -> Iterable[Entry]:
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    for incident in incidents.incidents(exchange.slug, now_ms - incidents.SPANS_MS["30d"])[:_NEWEST]:
        key, whole = f"incident-{incident.from_ms}", "outage" if incident.is_outage else "in part"
        yield Entry(incident.from_ms, INCIDENT, f"began, {whole}", "", incident.cause, key=key)
        if incident.to_ms is not None:
            lasted_s = (incident.to_ms - incident.from_ms) / 1000
            yield Entry(incident.to_ms, INCIDENT, f"ended after {lasted_s:.1f} s", "", incident.cause, key=f"{key}-end")


# ---- keeping -------------------------------------------------------------------------------------


def keep(now_ms: int) -> int:
    """Store the newest edges and the commands that have ended; how many were new. Raises `StoreUnavailable`."""
    before = Activity.objects.count()
    for exchange in Exchange.objects.all():
        over = [e for e in _commands(exchange) if e.detail.partition(":")[0] in _ENDED]
        rows = [Activity(exchange=exchange, **asdict(entry)) for entry in (*_edges(exchange), *over)]
        Activity.objects.bulk_create(rows, ignore_conflicts=True)
    new = Activity.objects.count() - before
    Activity.objects.filter(at_ms__lt=now_ms - KEPT_MS).delete()
    return new
