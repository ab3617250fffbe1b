"""Is somebody there for the work: workers for every queue, beat for every schedule?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from django.db import DatabaseError
from django.utils import timezone
from django_celery_beat.models import PeriodicTask
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from exchanges import registry
from exchanges.models import Exchange
from exchanges.observed import live_hosts
from exchanges.services import streaming
from exchanges.state import state_redis, unavailable
from livermore import processes
from livermore.celery import app
from livermore.core import keys
from livermore.core.errors import StoreUnavailable
from livermore.doctor.finding import Finding, fail, ok, skip, warn

PATIENCE_S = (1.0, 3.0)
"""A solo worker answers between two tasks; who does not at once is asked again."""
RAN_WITHIN = timedelta(minutes=1)
"""Something is due every two seconds, and is noted in Redis before it is sent."""
_OURS = ("candles.", "symbols.", "signals.")


def workers() -> Iterator[Finding]:
    """Does a worker take from every queue that the enabled exchanges need? Those of one that streams must be served."""
    slugs = [slug for slug in _enabled() if slug in registry.slugs()]
    needed = _queues(slugs)
    try:
        live = streaming()
        missing = sorted(set(needed) - _served(needed))
    except (OperationalError, RedisError, OSError, StoreUnavailable) as error:
        yield skip("workers", f"broker or state Redis does not answer ({type(error).__name__})")
        return
    if not missing:
        yield ok("workers", f"{len(needed)} queues are served")
        return
    urgent = [name for name in missing if name in _queues(live or slugs)]
    roles = ", ".join(f"worker-{role}" for role in sorted({needed[name] for name in missing}))
    fix = f"start {roles} (make run, or docker compose) with the queues {','.join(missing)}"
    if urgent:
        yield fail("workers", f"no worker takes from {', '.join(urgent)}", fix)
    else:
        yield warn("workers", f"exchanges that do not stream have no worker: {', '.join(missing)}", fix)


def _queues(slugs: Sequence[str]) -> dict[str, str]:
    """Queue → the worker it belongs to."""
    return {name: role for role, kind in processes.WORKERS.items() for name in processes.queues(kind, slugs)}


def _served(needed: dict[str, str]) -> set[str]:
    served: set[str] = set()
    for patience_s in PATIENCE_S:
        replies = app.control.inspect(timeout=patience_s).active_queues() or {}
        served |= {queue["name"] for queues in replies.values() for queue in queues}
        if set(needed) <= served:
            break
    return served


def beat() -> Iterator[Finding]:
    """Has beat sent anything lately, and are its schedules on?"""
    try:
        newest = PeriodicTask.objects.exclude(last_run_at=None).order_by("-last_run_at").first()
        off = sorted(t.name for t in PeriodicTask.objects.filter(enabled=False) if t.task.startswith(_OURS))
    except DatabaseError as error:
        yield skip("beat", f"the database does not answer ({type(error).__name__})")
        return
    ran = max(filter(None, (newest.last_run_at if newest else None, _sent_at())), default=None)
    if ran is not None and timezone.now() - ran < RAN_WITHIN:
        yield ok("beat", "schedules run")
    else:
        when = f"the last schedule ran {ran:%Y-%m-%d %H:%M} UTC" if ran else "no schedule ever ran"
        fix = "start it: celery -A livermore beat --max-interval 1, once, and a worker of the queue default"
        yield fail("beat", f"{when}: nothing is closed, compared or refreshed", fix)
    if off:
        yield warn("schedules", f"switched off: {', '.join(off)}", "switch them on at /admin/django_celery_beat/")
    else:
        yield ok("schedules", "all are on")


def heartbeat(name: str) -> Iterator[Finding]:
    """Has a stream host of this name given a sign of life?"""
    try:
        alive = [host.name for host in live_hosts()]
    except (StoreUnavailable, RedisError) as error:
        yield fail(f"heartbeat.{name}", f"the state Redis does not answer ({type(error).__name__})", "start it first")
        return
    if name in alive:
        yield ok(f"heartbeat.{name}", "beats")
    else:
        says = f"no sign of life; alive: {' '.join(alive) or 'none'}"
        yield fail(f"heartbeat.{name}", says, f"look at its log, and start it: manage.py stream_host --name {name}")


def _sent_at() -> datetime | None:
    """When beat last noted that it sends something."""
    try:
        with unavailable():
            sent = state_redis().hvals(keys.schedules_ran())
    except (StoreUnavailable, RedisError):
        return None
    return datetime.fromtimestamp(max(map(int, sent)) / 1000, UTC) if sent else None


def _enabled() -> list[str]:
    return list(Exchange.objects.filter(enabled=True).values_list("slug", flat=True))


def needs_tables(check: Callable[[], Iterator[Finding]], name: str) -> Callable[[], Iterator[Finding]]:
    """The check, or one line where the database cannot be read."""

    def guarded() -> Iterator[Finding]:
        try:
            yield from check()
        except DatabaseError as error:
            yield skip(name, f"the database cannot be read ({type(error).__name__})")

    return guarded
