"""What a stream host is wired to: rows, symbols, adapters, and the tasks that take batches and gaps."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from django.conf import settings
from django.db import close_old_connections
from kombu.exceptions import OperationalError

import candles.tasks
import exchanges.services
import symbols.services
import symbols.tier1
from exchanges import geo, registry
from exchanges.canary import CanaryStream
from exchanges.models import Exchange
from exchanges.observed import Change
from exchanges.running import Plan, Wiring
from exchanges.spool import Spool
from exchanges.stream import Stream
from exchanges.venue import TradeIds
from livermore.core.errors import StoreUnavailable
from livermore.core.gap import Gap
from livermore.logs import event as log_event

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
_RETRY_S = 1.0


class GapPost:
    """Hands gaps to the broker from a thread of its own: a stream must not wait for it, nor lose one."""

    def __init__(self, send: Callable[[Gap], None]) -> None:
        self._send = send
        self._waiting: queue.Queue[Gap | None] = queue.Queue()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gap-post", daemon=True)
        self._thread.start()

    def __call__(self, gap: Gap) -> None:
        """Take a gap; returns at once."""
        self._waiting.put(gap)

    def close(self, timeout_s: float) -> bool:
        """Send what waits; False when the broker did not take all of it in time."""
        self._waiting.put(None)
        self._thread.join(timeout_s)
        self._ending.set()
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (gap := self._waiting.get()) is not None:
            while not self._is_sent(gap) and not self._ending.wait(_RETRY_S):
                pass

    def _is_sent(self, gap: Gap) -> bool:
        try:
            self._send(gap)
        except (StoreUnavailable, OperationalError, OSError) as error:
            log_event(log, "gap.waiting", logging.WARNING, exchange=gap.exchange, error=error)
            return False
        return True


def wiring(report: Callable[[Gap], None], watch: Callable[[Change], None]) -> Wiring:
    """Everything real: database, adapters, Celery."""
    return Wiring(
        plans=_fresh(_plans),
        universe=_fresh(symbols.services.streamed_names),
        sync=_fresh(_sync),
        stream=_fresh(lambda plan, names, epoch: _stream(plan, names, epoch, report)),
        started=_fresh(_started),
        locate=lambda: geo.location(settings.LIVERMORE_REGION),
        watch=watch,
    )


def _plans() -> Mapping[str, Plan]:
    """The rows that have an adapter."""
    rows = Exchange.objects.select_related("geo_alternative").filter(pk__in=registry.slugs())
    return {row.slug: Plan.of(row, may_overlap=_has_ids(row.slug)) for row in rows}


def _has_ids(slug: str) -> bool:
    return registry.venue(slug).trade_ids is not TradeIds.ABSENT


def _sync(plan: Plan) -> None:
    rest = registry.venue(plan.slug).rest(plan.endpoint, exchanges.services.budget(plan.slug))
    symbols.services.sync(plan.slug, rest)
    symbols.tier1.refresh(plan.slug, rest)


def _stream(plan: Plan, names: Mapping[str, str], epoch: int, report: Callable[[Gap], None]) -> Stream:
    venue = exchanges.services.streamed_venue(plan.slug)
    return CanaryStream(
        venue,
        venue.rest(plan.endpoint, exchanges.services.budget(plan.slug)),
        plan.limits,
        list(names),
        connects=exchanges.services.connects(plan.slug),
        canary_every_s=settings.CANARY_EVERY_S,
        epoch=epoch,
        publish=candles.tasks.publish_batch,
        report=report,
        names=names,
        spool=Spool(Path(settings.VAR_DIR) / "spool" / plan.slug, epoch, max_bytes=settings.SPOOL_MAX_MB * 1024**2),
    )


def _started(slug: str, names: tuple[str, ...]) -> None:
    try:
        candles.tasks.stream_started(slug, names)
    except (OperationalError, OSError) as error:
        raise StoreUnavailable(f"the broker does not answer: {error}") from error


def _fresh(act: Callable[P, T]) -> Callable[P, T]:
    """A host lives for months: a database connection that died in the meantime is replaced."""

    @wraps(act)
    def fresh(*args: P.args, **kwargs: P.kwargs) -> T:
        close_old_connections()
        try:
            return act(*args, **kwargs)
        finally:
            close_old_connections()

    return fresh
