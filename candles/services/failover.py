"""Has the state Redis begun anew, or lost what it held? Then what was under way is a gap."""

from __future__ import annotations

import logging

from candles.models import Candle
from candles.services import rebuild
from exchanges.services import streaming
from exchanges.state import state_redis, unavailable
from livermore.core import keys
from livermore.core.candle import BASE_TIMEFRAME, BUCKET_MS, Source
from livermore.core.gap import Cause, Gap
from livermore.logs import event

log = logging.getLogger(__name__)

MARGIN_MS = 5_000
"""Before the last look: what was acknowledged so shortly before an end may not have reached the disk."""
LOST_MS = 2 * BUCKET_MS
"""An empty Redis has lost at least the trades of the open bucket and of the one before it."""
LIVELY_MS = 3 * BUCKET_MS
LOOK_AGAIN_S = 60


@unavailable()
def watch(now_ms: int) -> list[Gap]:
    """The gaps that a restart, a failover or a flush since the last look made; call `seen` when they are told.

    A server's `run_id` is new after each start. Replication and the append-only file may both lag behind
    what was acknowledged, so what came shortly before is doubted; what was recorded is in the database.
    """
    stored = state_redis().get(keys.generation())
    if stored is None:
        since_ms, slugs = now_ms - LOST_MS, _lively(now_ms)
    else:
        run_ids, _, seen_ms = stored.decode().partition("|")
        since_ms, slugs = int(seen_ms) - MARGIN_MS, [] if run_ids == _run_ids() else streaming()
    gaps = [Gap(slug, since_ms * 1_000_000, now_ms * 1_000_000, Cause.FAILOVER) for slug in slugs]
    for gap in gaps:
        event(log, "store.lost", logging.WARNING, exchange=gap.exchange, since_ms=since_ms, is_empty=stored is None)
    return gaps


@unavailable()
def seen(now_ms: int) -> None:
    """Remember which servers hold the state, and when."""
    state_redis().set(keys.generation(), f"{_run_ids()}|{now_ms}")


@unavailable()
def lacking() -> list[str]:
    """Exchanges whose hot windows are gone although the database has their candles; looked at once a minute.

    An emptied Redis has forgotten that too, so there the look comes at once.
    """
    if not state_redis().set(keys.windows_looked(), 1, nx=True, ex=LOOK_AGAIN_S):
        return []
    return [slug for slug in streaming() if rebuild.is_lost(slug)]


def _run_ids() -> str:
    said = state_redis().info("server")
    nodes = [said] if "run_id" in said else said.values()  # a Cluster answers by node
    return ",".join(sorted(node["run_id"] for node in nodes))


def _lively(now_ms: int) -> list[str]:
    """Exchanges that were followed lately, by the table: an empty Redis cannot tell. History proves nothing."""
    recent = Candle.objects.filter(
        timeframe=str(BASE_TIMEFRAME), source__in=(Source.TRADES, Source.ADOPTED), open_ms__gte=now_ms - LIVELY_MS
    )
    return sorted(set(recent.order_by().values_list("symbol__exchange_id", flat=True).distinct()))
