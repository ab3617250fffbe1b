"""Incidents and uptime by data received: what the receptions and the gaps of an exchange together say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db.models import Count

from candles.models import Gap
from exchanges.stream import CLOCK_MARGIN_NS
from livermore.core.gap import Cause
from livermore.watch.models import Reception
from symbols import services as symbols

DAY_MS = 86_400_000
SPANS_MS = {"24h": DAY_MS, "7d": 7 * DAY_MS, "30d": 30 * DAY_MS}
MOST_GAPS = 5_000
_MARGIN_MS = CLOCK_MARGIN_NS // 1_000_000
_AROUND_MS = 2_000

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Incident:
    """Data of `symbols` symbols (None: of all) ceased to come unasked in `[from_ms, to_ms]`, ms UTC; `to_ms` is None
    while it lasts. `is_outage`: half of what the exchange streams, or more, was missing; only such cost uptime."""

    exchange: str
    from_ms: int
    to_ms: int | None
    cause: str
    symbols: int | None
    is_outage: bool

    def public(self, now_ms: int) -> dict[str, Any]:
        """For the API."""
        ended_ms = now_ms if self.to_ms is None else self.to_ms
        return {
            "from_ms": self.from_ms,
            "to_ms": self.to_ms,
            "duration_ms": ended_ms - self.from_ms,
            "is_open": self.to_ms is None,
            "cause": self.cause,
            "symbols": self.symbols,
            "is_outage": self.is_outage,
        }


def incidents(exchange: str, since_ms: int) -> list[Incident]:
    """Those that reach into the time since then, newest first; what overlaps is one."""
    rows = _rows(exchange, since_ms)
    wished = [(row.to_ms, following) for row, following in _followed(rows) if row.ended]
    reconnects = [i for i in _reconnects(exchange, since_ms) if not _is_within(i, wished)]
    outages = _merged([*_outages(exchange, rows, since_ms), *(i for i in reconnects if i.is_outage)])
    partial = _merged(i for i in reconnects if not i.is_outage)
    left = [rest for incident in partial if (rest := _outside(incident, outages)) is not None]
    return sorted([*outages, *left], key=lambda i: i.from_ms, reverse=True)


def _merged(found: Iterable[Incident]) -> list[Incident]:
    """What overlaps is one; oldest first."""
    merged: list[Incident] = []
    for incident in sorted(found, key=lambda i: i.from_ms):
        last = merged[-1] if merged else None
        if last is not None and (last.to_ms is None or incident.from_ms <= last.to_ms):
            merged[-1] = _joined(last, incident)
        else:
            merged.append(incident)
    return merged


def _outside(incident: Incident, outages: Iterable[Incident]) -> Incident | None:
    """What is left of one in part behind the outage in which it began; None when nothing is."""
    for outage in outages:
        if outage.from_ms <= incident.from_ms and (outage.to_ms is None or incident.from_ms <= outage.to_ms):
            if outage.to_ms is None or (incident.to_ms is not None and incident.to_ms <= outage.to_ms):
                return None
            return replace(incident, from_ms=outage.to_ms)
    return incident


def _joined(one: Incident, other: Incident) -> Incident:
    """The gap of a reconnect knows to the millisecond what the look every few seconds sees roughly."""
    ends = (one.to_ms, other.to_ms)
    told = next((i for i in (one, other) if i.symbols is None), max(one, other, key=lambda i: i.symbols or 0))
    return replace(
        told,
        from_ms=min(one.from_ms, other.from_ms),
        to_ms=None if None in ends else max(end for end in ends if end is not None),
    )


def _outages(exchange: str, rows: Sequence[Reception], since_ms: int) -> list[Incident]:
    """The time between two receptions, unless it was wished, and since the last one when nothing comes."""
    return [
        Incident(exchange, row.to_ms, next_ms, row.cause, None, is_outage=True)
        for row, next_ms in _followed(rows)
        if not row.ended and row.cause and (next_ms is None or next_ms > since_ms)
    ]


def _followed(rows: Sequence[Reception]) -> list[tuple[Reception, int | None]]:
    """Each with when the next one began."""
    return list(zip(rows, [*(row.from_ms for row in rows[1:]), None], strict=True)) if rows else []


def _is_within(incident: Incident, wished: Iterable[tuple[int, int | None]]) -> bool:
    """Was the connection away because somebody had stopped or paused the stream?"""
    return any(
        incident.from_ms >= begin_ms - _AROUND_MS and (end_ms is None or incident.from_ms <= end_ms)
        for begin_ms, end_ms in wished
    )


def _rows(exchange: str, since_ms: int) -> list[Reception]:
    """Receptions that reach into the time since then, and the one before them, oldest first."""
    rows = Reception.objects.filter(exchange=exchange).order_by("from_ms")
    before = rows.filter(to_ms__lt=since_ms).order_by("-from_ms").first()
    return [*([before] if before else []), *rows.filter(to_ms__gte=since_ms)]


def _reconnects(exchange: str, since_ms: int) -> list[Incident]:
    """Connections that were away, from the gaps they left; these are told wider by a margin on both sides."""
    gaps = Gap.objects.filter(
        exchange=exchange, cause=str(Cause.DISCONNECT), to_ns__gte=(since_ms + _MARGIN_MS) * 1_000_000
    )
    counted = gaps.order_by("-to_ns").values_list("from_ns", "to_ns").annotate(Count("symbol", distinct=True))
    streamed = len(symbols.streamed_names(exchange))
    return [
        Incident(
            exchange, from_ns // 1_000_000 + _MARGIN_MS, max(from_ns, to_ns) // 1_000_000 - _MARGIN_MS,
            f"reconnected: {count} symbol{'s' if count > 1 else ''}", count, is_outage=2 * count >= streamed,
        )
        for from_ns, to_ns, count in counted[:MOST_GAPS]
    ]  # fmt: skip


# ---- uptime --------------------------------------------------------------------------------------


def uptime(exchange: str, since_ms: int, now_ms: int, found: Iterable[Incident] | None = None) -> float | None:
    """Of the time since then in which the exchange was to run and had begun to bring data, the share in which it
    did; None when it was not to run at all."""
    expected = sum(end - begin for begin, end in _expected(_rows(exchange, since_ms), since_ms, now_ms))
    if not expected:
        return None
    down = sum(
        max(0, min(now_ms if incident.to_ms is None else incident.to_ms, now_ms) - max(incident.from_ms, since_ms))
        for incident in (incidents(exchange, since_ms) if found is None else found)
        if incident.is_outage
    )
    return max(0.0, 1 - down / expected)


def _expected(rows: Sequence[Reception], since_ms: int, now_ms: int) -> list[Span]:
    """While it received, and from there until the next reception unless somebody stopped it."""
    spans = []
    for at, row in enumerate(rows):
        next_ms = rows[at + 1].from_ms if at + 1 < len(rows) else now_ms
        end_ms = row.to_ms if row.ended else next_ms
        begin_ms = max(row.from_ms, since_ms)
        if end_ms > begin_ms:
            spans.append((begin_ms, min(end_ms, now_ms)))
    return spans
