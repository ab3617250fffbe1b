"""What a rule would have told of what is past: the same judgement as the outbox's, over the table of signals."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from statistics import median

from candles.models import Signal
from candles.notify.matching import Wish, refusal

DAYS = 7
DAY_MS = 86_400_000


@dataclass(slots=True)
class Preview:
    """Of the signals that opened since `since_ms`, how many the rule wants, what became of them, and why it wants
    the others not. `median_s` is how long those that closed were open."""

    since_ms: int
    wanted: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    median_s: float | None = None


def preview(wish: Wish, now_ms: int, days: int = DAYS) -> Preview:
    """Judges each signal of the last days as it opened."""
    found = Preview(now_ms - days * DAY_MS)
    durations = []
    rows = Signal.objects.filter(opened_ms__gte=found.since_ms, opening__isnull=False)
    for opening, outcome, duration_ms in rows.values_list("opening", "outcome", "duration_ms").iterator():
        if why := refusal(wish, opening):
            found.refused[why] += 1
            continue
        found.wanted += 1
        if outcome:
            found.outcomes[outcome] += 1
        if duration_ms is not None:
            durations.append(duration_ms / 1000)
    found.median_s = median(durations) if durations else None
    return found
