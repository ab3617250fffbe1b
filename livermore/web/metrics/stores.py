"""What the stores tell at the moment they are asked: queues, budgets, open gaps, suppressed signals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import Count
from kombu.exceptions import OperationalError
from prometheus_client.metrics_core import Metric
from redis.exceptions import RedisError

from candles.models import Gap
from exchanges.services import allowance
from exchanges.state import state_redis, unavailable
from livermore import processes
from livermore.celery import app
from livermore.core import keys
from livermore.core.errors import StoreUnavailable
from livermore.web.metrics.family import Gathered, Gauge, Total

DEPTH = Gauge("queue_messages", "Messages that wait in a queue.", ("queue",))
BUDGET = Gauge("budget_used_ratio", "Share of the REST budget that the running window has used.", ("exchange",))
OPEN_GAPS = Gauge("open_gaps", "Gaps that nothing has closed yet.", ("exchange", "cause"))
SUPPRESSED = Total("signals_suppressed", "Candidates that were not published, by reason.", ("reason",))

KINDS: tuple[Gauge | Total, ...] = (DEPTH, BUDGET, OPEN_GAPS, SUPPRESSED)
_CONNECT_S = 2


def queues(slugs: Sequence[str]) -> list[Metric]:
    """How many messages wait. Raises `StoreUnavailable`."""
    found = Gathered()
    names = [name for kind in processes.WORKERS.values() for name in processes.queues(kind, slugs)]
    options = {"socket_connect_timeout": _CONNECT_S, "socket_timeout": _CONNECT_S}
    try:
        with app.connection_for_read(connect_timeout=_CONNECT_S) as link:
            link.transport_options = {**link.transport_options, **options}
            link.ensure_connection(max_retries=1, interval_start=0, timeout=_CONNECT_S)
            for name in names:
                # A channel each: RabbitMQ closes the one on which an unknown queue was asked for.
                with link.channel() as channel:
                    found.put(DEPTH, name, value=_depth(channel, name, link.channel_errors))
    except (OperationalError, RedisError, OSError) as error:
        raise StoreUnavailable("the broker does not answer") from error
    return found.families([DEPTH])


def _depth(channel: Any, name: str, unknown: tuple[type[Exception], ...]) -> float:
    if hasattr(channel, "client"):
        return float(channel.client.llen(name))  # Kombu's Redis transport: a queue is a list
    try:
        return float(channel.queue_declare(name, passive=True).message_count)
    except unknown:
        return 0.0


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
