"""What the stores tell at the moment they are asked: queues, budgets, open gaps, suppressed signals."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import Count
from prometheus_client.metrics_core import Metric

from candles.models import Gap
from exchanges.services import allowance
from exchanges.state import state_redis, unavailable
from livermore import processes, queues
from livermore.core import keys
from livermore.web.metrics.family import Gathered, Gauge, Total

DEPTH = Gauge("queue_messages", "Messages that wait in a queue.", ("queue",))
AGE = Gauge("queue_age_seconds", "How long the oldest message of a queue has waited.", ("queue",))
BUDGET = Gauge("budget_used_ratio", "Share of the REST budget that the running window has used.", ("exchange",))
OPEN_GAPS = Gauge("open_gaps", "Gaps that nothing has closed yet.", ("exchange", "cause"))
SUPPRESSED = Total("signals_suppressed", "Candidates that were not published, by reason.", ("reason",))


def waiting(slugs: Sequence[str]) -> list[Metric]:
    """How many messages wait, and how long the oldest has. Raises `StoreUnavailable`."""
    found = Gathered()
    names = [name for kind in processes.WORKERS.values() for name in processes.queues(kind, slugs)]
    seen = {one.queue: one for one in queues.look(names)}
    for name in names:
        one = seen.get(name)
        found.put(DEPTH, name, value=one.depth if one else 0)
        age_ms = one.age_ms if one else 0
        found.put(AGE, name, value=None if age_ms is None else age_ms / 1000)
    return found.families([DEPTH, AGE])


def budgets(slugs: Sequence[str]) -> list[Metric]:
    """Raises `StoreUnavailable` and `DatabaseError`."""
    found = Gathered()
    for slug in slugs:
        seen = allowance(slug, share=1.0)
        found.put(BUDGET, slug, value=seen.spent / seen.per_window if seen.per_window else None)
    return found.families([BUDGET])


def gaps() -> list[Metric]:
    """Raises `DatabaseError`."""
    found = Gathered()
    rows = Gap.objects.filter(closed_at=None).order_by().values_list("exchange_id", "cause").annotate(Count("pk"))
    for slug, cause, count in rows:
        found.put(OPEN_GAPS, slug, cause, value=count)
    return found.families([OPEN_GAPS])


@unavailable()
def signals() -> list[Metric]:
    """Raises `StoreUnavailable`."""
    found = Gathered()
    for reason, count in state_redis().hgetall(keys.suppressed()).items():
        found.put(SUPPRESSED, reason.decode(), value=float(count))
    return found.families([SUPPRESSED])
