"""The scoreboard of signals, from the table of closed ones; and what an event says of its kind's past."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from candles.models import Signal as Row
from candles.signals.event import Event, Phase
from candles.signals.scores import Graded, Score, score, scoreboard

DAYS = 30
DAY_MS = 86_400_000
KNOWN_FOR_S = 60
COLUMNS = (
    "kind", "leader", "follower", "hour", "n", "hit_rate", "median_catchup_s", "life_p50_s", "life_p90_s",
    "peak_p50_bps", "mfe_p50_bps", "mae_p50_bps",
)  # fmt: skip
_FIELDS = (
    "kind", "leader_id", "follower_id", "opened_ms", "outcome", "duration_ms", "peak_bps", "mfe_bps", "mae_bps",
)  # fmt: skip


def graded(since_ms: int, **narrowed: Any) -> Iterator[Graded]:
    """Closed events that opened since then; `narrowed` by fields of the row."""
    rows = Row.objects.filter(phase=Phase.CLOSED, opened_ms__gte=since_ms, peak_bps__isnull=False, **narrowed)
    for kind, leader, follower, *measured in rows.order_by().values_list(*_FIELDS).iterator():
        yield Graded(kind, leader, follower or "", *measured)


def scores(since_ms: int, **narrowed: Any) -> list[dict[str, Any]]:
    """Per kind, pair and hour of the day, ready for JSON."""
    found = scoreboard(graded(since_ms, **narrowed))
    return [
        {"kind": kind, "leader": leader, "follower": follower or None, "hour": hour, **public(of)}
        for (kind, leader, follower, hour), of in sorted(found.items())
    ]


def public(of: Score) -> dict[str, Any]:
    """Seconds and bps as text with two decimals, shares with four."""
    return {
        "n": of.count,
        "hit_rate": f"{of.hit_rate:.4f}",
        "median_catchup_s": None if of.catch_up_s is None else f"{of.catch_up_s:.2f}",
        "life_p50_s": f"{of.life_p50_s:.2f}",
        "life_p90_s": f"{of.life_p90_s:.2f}",
        "peak_p50_bps": f"{of.peak_p50_bps:z.2f}",
        "mfe_p50_bps": f"{of.mfe_p50_bps:z.2f}",
        "mae_p50_bps": f"{of.mae_p50_bps:z.2f}",
    }


def history(of: Event) -> dict[str, Any] | None:
    """What became of the events of this kind, base and pair in the last thirty days; None without any."""
    follower = None if of["follower"] is None else of["follower"]["exchange"]
    minute = int(time.monotonic() // KNOWN_FOR_S)
    return _history(of["kind"], of["base"], of["leader"]["exchange"], follower, of["onset_ms"] // DAY_MS, minute)


@lru_cache(maxsize=1_000)
def _history(
    kind: str, base: str, leader: str, follower: str | None, day: int, minute: int
) -> dict[str, Any] | None:
    since_ms = (day - DAYS) * DAY_MS
    before = list(graded(since_ms, kind=kind, base=base, leader_id=leader, follower_id=follower))
    if not before:
        return None
    of = score(before)
    return {
        "n_30d": of.count,
        "hit_rate": f"{of.hit_rate:.2f}",
        "median_catchup_s": None if of.catch_up_s is None else f"{of.catch_up_s:.1f}",
        "expected_remaining_bps_p50": f"{of.peak_p50_bps:z.0f}",
    }
