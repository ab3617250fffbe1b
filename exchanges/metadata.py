"""What venues say of themselves against the rows of their exchanges: each difference is a `Drift`, settled by a person.

Limits are compared where the venue states them (`exchanges.venue.StatesLimits`); geography nobody states, so its
rules only grow old. Of symbols the sync writes what the venue says at once and tells here what that changed.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from exchanges.models import Drift, Exchange
from exchanges.venue import Rest, StatedLimits, StatesLimits
from livermore.core.errors import InvalidInput
from livermore.logs import event

log = logging.getLogger(__name__)

GEO_RULES_LAST_DAYS = 30
KEPT_FOR = timedelta(days=30)
"""So long a decision for ours holds; then the same difference is pointed out again."""
ROWS_KEPT = timedelta(days=365)
BUDGET, SILENCE, GEO = "REST budget", "silence", "geo rules"


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as the venue says; see `Drift` for the fields."""

    what: str
    ours: str
    theirs: str
    changes: Mapping[str, Any] = field(default_factory=dict)


# ---- finding it ----------------------------------------------------------------------------------


def check_limits(exchange: Exchange, rest: Rest) -> list[Drift]:
    """Ask the venue for its limits and note what differs; raises what the REST raises. Returns what is open."""
    stated = rest.stated_limits() if isinstance(rest, StatesLimits) else StatedLimits()
    told = {BUDGET} if stated.rest_weight is not None else set()
    told |= {SILENCE} if stated.silence_s is not None else set()
    return note(exchange, differing(exchange, stated), told)


def check_geo(exchange: Exchange, today: date) -> list[Drift]:
    """Note rules that nobody compared with their source for a month; asks nobody."""
    verified = exchange.geo_verified_at
    if verified is not None and (today - verified).days <= GEO_RULES_LAST_DAYS:
        return note(exchange, [], {GEO})
    ours = f"compared on {verified}" if verified else "never compared"
    theirs = f"to be compared with {exchange.geo_source_url or 'their source'} every {GEO_RULES_LAST_DAYS} days"
    return note(exchange, [Difference(GEO, ours, theirs)], {GEO})


def differing(exchange: Exchange, stated: StatedLimits) -> list[Difference]:
    """Where the row is not as stated."""
    found = []
    budget = {"rest_weight": stated.rest_weight, "rest_window_s": stated.rest_window_s}
    budget = {name: value for name, value in budget.items() if value is not None}
    if stated.rest_weight is not None and any(getattr(exchange, name) != value for name, value in budget.items()):
        window_s = exchange.rest_window_s if stated.rest_window_s is None else stated.rest_window_s
        ours = f"{exchange.rest_weight} per {exchange.rest_window_s} s"
        found.append(Difference(BUDGET, ours, f"{stated.rest_weight} per {window_s} s", budget))
    if stated.silence_s is not None and exchange.silence_s < stated.silence_s:
        theirs = f"no less than {stated.silence_s} s"
        found.append(Difference(SILENCE, f"{exchange.silence_s} s", theirs, {"silence_s": stated.silence_s}))
    return found


@transaction.atomic
def note(exchange: Exchange, found: Iterable[Difference], looked_at: Collection[str]) -> list[Drift]:
    """Open a drift for each difference, and settle those of `looked_at` that are gone; returns what is open.

    A difference that somebody decided to keep is not opened again for `KEPT_FOR`.
    """
    now = timezone.now()
    differences = {one.what: one for one in found}
    standing = {drift.what: drift for drift in exchange.drifts.filter(settled_at=None, what__in=looked_at)}
    for what, drift in standing.items():
        if what not in differences:
            _settle(drift, Drift.Decision.GONE, "the venue")
    open_now = []
    for what, one in differences.items():
        drift = standing.get(what)
        if drift is None:
            if _is_kept(exchange, one):
                continue
            drift = Drift(exchange=exchange, what=what, seen_at=now)
            event(
                log, "metadata.drift", logging.WARNING,
                exchange=exchange.slug, what=what, ours=one.ours, theirs=one.theirs,
            )  # fmt: skip
        drift.ours, drift.theirs, drift.changes = one.ours, one.theirs, dict(one.changes)
        drift.save()
        open_now.append(drift)
    Drift.objects.filter(exchange=exchange, settled_at__lt=now - ROWS_KEPT).delete()
    return open_now


def note_synced(exchange_slug: str, found: Iterable[Difference]) -> None:
    """Keep on record what a sync of the symbols took over from the venue."""
    now = timezone.now()
    Drift.objects.bulk_create(
        Drift(
            exchange_id=exchange_slug, what=one.what, ours=one.ours, theirs=one.theirs,
            seen_at=now, settled_at=now, settled_by="symbols.sync", decision=Drift.Decision.SYNCED,
        )
        for one in found
    )  # fmt: skip


def _is_kept(exchange: Exchange, one: Difference) -> bool:
    """Did somebody decide for ours when it was the same?"""
    since = timezone.now() - KEPT_FOR
    last = exchange.drifts.filter(what=one.what, decision=Drift.Decision.KEPT, settled_at__gt=since)
    return last.filter(ours=one.ours, theirs=one.theirs).exists()


# ---- settling it ---------------------------------------------------------------------------------


@transaction.atomic
def accept(drift_pk: int, by: str) -> Drift:
    """Write what the venue says into the row, dated today; running hosts follow it as any edit.

    Of geo rules: say that they were compared today. Raises `InvalidInput` for a drift that is settled, or whose
    values the row refuses.
    """
    drift = _open(drift_pk)
    row = drift.exchange
    dated = "geo_verified_at" if drift.what == GEO else "limits_verified_at"
    written = {**drift.changes, dated: timezone.localdate()}
    for name, value in written.items():
        setattr(row, name, value)
    try:
        row.clean_fields(exclude={f.name for f in row._meta.fields} - written.keys())
        row.clean()
    except ValidationError as error:
        raise InvalidInput(f"{row.slug} cannot take it: {'; '.join(error.messages)}") from None
    row.save()
    return _settle(drift, Drift.Decision.ACCEPTED, by)


@transaction.atomic
def keep(drift_pk: int, by: str) -> Drift:
    """Leave the row as it is. Raises `InvalidInput` for a drift that is settled."""
    return _settle(_open(drift_pk), Drift.Decision.KEPT, by)


def _open(drift_pk: int) -> Drift:
    found = Drift.objects.select_for_update(of=("self",)).select_related("exchange").filter(pk=drift_pk).first()
    if found is None:
        raise InvalidInput("this drift does not exist any more")
    if found.settled_at is not None:
        raise InvalidInput(f"{found} was {found.decision} by {found.settled_by} already")
    return found


def _settle(drift: Drift, decision: Drift.Decision, by: str) -> Drift:
    drift.settled_at, drift.settled_by, drift.decision = timezone.now(), by, decision
    drift.save()
    return drift
