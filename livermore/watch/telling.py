"""Operators are told of incidents: when one has lasted for a moment, and when it is over."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from candles.notify import outbox
from candles.notify.wording import INCIDENT
from exchanges.models import Exchange
from livermore.watch.incidents import Incident, incidents

PATIENCE_MS = 10_000
"""What is over by then was a reconnect, of which nobody needs to be woken."""
_LOOKED_BACK_MS = 86_400_000


def tell(now_ms: int) -> int:
    """Owe what was not told yet; returns how many messages that makes. Repeating is harmless.

    An incident that is told has an end as soon as no outage is open: its own beginning may be known better by then.
    """
    made = 0
    for slug in Exchange.objects.filter(enabled=True).values_list("slug", flat=True):
        outages = [i for i in incidents(slug, now_ms - _LOOKED_BACK_MS) if i.is_outage and i.to_ms is None]
        told = outbox.told_incident(f"incident:{slug}:")
        if told is not None and not outages:
            spent_ms = now_ms - int(told["from_ms"])
            made += outbox.tell_operators({**told, "phase": "closed", "duration_ms": spent_ms})
        elif told is None and outages and now_ms - outages[0].from_ms >= PATIENCE_MS:
            made += outbox.tell_operators(_event(outages[0]))
    return made


def _event(incident: Incident) -> dict[str, Any]:
    since = datetime.fromtimestamp(incident.from_ms / 1000, UTC)
    return {
        "kind": INCIDENT,
        "event_id": f"incident:{incident.exchange}:{incident.from_ms}",
        "phase": "opened",
        "exchange": incident.exchange,
        "from_ms": incident.from_ms,
        "since": f"{since:%Y-%m-%d %H:%M:%S} UTC",
        "cause": incident.cause,
    }
