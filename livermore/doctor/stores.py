"""Do database, state Redis and broker answer, and are they set up so that nothing is lost?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from kombu.exceptions import OperationalError

from exchanges.state import state_redis, unavailable, without_cluster_flag
from livermore.celery import app
from livermore.core.errors import StoreUnavailable
from livermore.doctor.finding import Finding, fail, ok, shown, skip, warn

OLDEST_REDIS = (6, 2)
FULL = 0.9
CLOCK_WRONG_MS, CLOCK_DOUBTED_MS = 1_000.0, 250.0
NTP = "have this machine and that one keep time by NTP (timedatectl set-ntp true)"
_TRIES = 4
_BROKER_WITHIN_S = 2


def database() -> Iterator[Finding]:
    """Reachable, and with the tables of this version."""
    try:
        connection.ensure_connection()
        plan = _migrations()
    except DatabaseError as error:
        says = f"{connection.vendor} does not answer ({type(error).__name__})"
        yield fail("database", says, "start it, and look at DATABASE_URL: host, port, user, password")
        return
    if settings.IS_SQLITE and settings.IS_PRODUCTION:
        says = "SQLite: only processes on this one machine can share it"
        yield warn("database", says, "set DATABASE_URL=postgres://… where several machines take part")
    else:
        yield ok("database", "SQLite, for one machine" if settings.IS_SQLITE else connection.vendor)
    if plan:
        says = f"{len(plan)} not applied, the first is {plan[0]}"
        yield fail("migrations", says, "python manage.py migrate")
    else:
        yield ok("migrations", "all applied")


def _migrations() -> list[str]:
    executor = MigrationExecutor(connection)
    targets = executor.loader.graph.leaf_nodes()
    return [f"{step.app_label}.{step.name}" for step, _ in executor.migration_plan(targets)]


def state() -> Iterator[Finding]:
    """The state Redis: may be a Cluster, must keep what it is given."""
    url = settings.STATE_REDIS_URL
    _, is_cluster = without_cluster_flag(url)
    try:
        with unavailable():
            client = state_redis()
            said = client.info(target_nodes=client.PRIMARIES) if is_cluster else client.info()
    except (StoreUnavailable, redis.RedisError) as error:
        yield fail("state_redis", f"{shown(url)} does not answer{_kind(error)}", _start("STATE_REDIS_URL"))
        return
    nodes = [said] if "redis_version" in said else list(said.values())
    if nodes[0].get("redis_mode") == "cluster" and not is_cluster:
        says = "is a node of a Cluster, and its address does not say so"
        yield fail("state_redis", says, "add ?cluster=true to STATE_REDIS_URL")
        return
    yield ok("state_redis", f"{shown(url)}, {len(nodes)} node{'s' * (len(nodes) > 1)}")
    yield from _kept("state_redis", nodes)
    yield from _clock("clock.state_redis", lambda: _redis_ms(client))


def broker() -> Iterator[Finding]:
    """The broker: never a Cluster, and on Redis set up like the state."""
    url = settings.CELERY_BROKER_URL
    options = {"socket_connect_timeout": _BROKER_WITHIN_S, "socket_timeout": _BROKER_WITHIN_S}
    try:
        with app.connection_for_read(connect_timeout=_BROKER_WITHIN_S) as link:
            link.transport_options = {**link.transport_options, **options}
            link.ensure_connection(max_retries=1, interval_start=0, timeout=_BROKER_WITHIN_S + 1)
            channel = link.default_channel
            said = channel.client.info() if hasattr(channel, "client") else None
    except (OperationalError, redis.RedisError, OSError) as error:
        yield fail("broker", f"{shown(url)} does not answer{_kind(error)}", _start("CELERY_BROKER_URL"))
        return
    if said and said.get("cluster_enabled"):
        fix = "use a standalone Redis, Sentinel or RabbitMQ as CELERY_BROKER_URL; only the state may be a Cluster"
        yield fail("broker", "is a Redis Cluster, on which Celery cannot work", fix)
        return
    yield ok("broker", shown(url))
    if said:
        yield from _kept("broker", [said])


def _kept(name: str, nodes: list[Mapping[str, Any]]) -> Iterator[Finding]:
    """What each server's INFO says of whether it keeps what it is given."""
    yield _one(
        f"{name}.role", nodes, lambda node: node["role"], lambda node: node["role"] == "master",
        "a replica refuses writes", "point the address to the master, or name the Sentinels",
    )  # fmt: skip
    yield _one(
        f"{name}.version", nodes, lambda node: node["redis_version"], _is_new_enough,
        "commands that are needed came with 6.2", "install Redis 7, or 6.2 at least",
    )  # fmt: skip
    yield _one(
        f"{name}.eviction", nodes, lambda node: node["maxmemory_policy"], _never_evicts,
        "keys vanish before they are used", "set maxmemory-policy to noeviction; memory is bounded by expiry",
    )  # fmt: skip
    yield _one(
        f"{name}.persistence", nodes, _persistence, lambda node: _persistence(node) != "nothing on disk",
        "a restart loses what is under way", "set appendonly to yes (appendfsync everysec), or add a replica",
    )  # fmt: skip
    yield _one(
        f"{name}.memory", nodes, _memory, lambda node: _fullness(node) < FULL,
        "writes will soon be refused", "raise maxmemory, or follow fewer symbols",
    )  # fmt: skip


def _one(
    name: str,
    nodes: list[Mapping[str, Any]],
    shows: Callable[[Mapping[str, Any]], str],
    is_well: Callable[[Mapping[str, Any]], bool],
    why: str,
    fix: str,
) -> Finding:
    bad = [node for node in nodes if not is_well(node)]
    if bad:
        return fail(name, f"{', '.join(sorted({str(shows(node)) for node in bad}))}: {why}", fix)
    return ok(name, ", ".join(sorted({str(shows(node)) for node in nodes})))


def _is_new_enough(node: Mapping[str, Any]) -> bool:
    return tuple(int(part) for part in str(node["redis_version"]).split(".")[:2]) >= OLDEST_REDIS


def _never_evicts(node: Mapping[str, Any]) -> bool:
    return str(node["maxmemory_policy"]) == "noeviction"


def _persistence(node: Mapping[str, Any]) -> str:
    if node.get("aof_enabled"):
        return "append-only file"
    return "a replica" if node.get("connected_slaves") else "nothing on disk"


def _fullness(node: Mapping[str, Any]) -> float:
    return node["used_memory"] / node["maxmemory"] if node.get("maxmemory") else 0.0


def _memory(node: Mapping[str, Any]) -> str:
    used = f"{node['used_memory'] // 1024**2} MB used"
    return f"{used}, {_fullness(node):.0%} of maxmemory" if node.get("maxmemory") else used


def database_clock() -> Iterator[Finding]:
    """PostgreSQL stamps rows by its own clock."""
    if settings.IS_SQLITE:
        return
    try:
        yield from _clock("clock.database", _postgres_ms)
    except DatabaseError as error:
        yield skip("clock.database", f"the database does not answer ({type(error).__name__})")


def _postgres_ms() -> float:
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())")
        return float(cursor.fetchone()[0]) * 1000


def _redis_ms(client: Any) -> float:
    seconds, micros = client.time()
    return float(seconds) * 1000 + float(micros) / 1000


def _clock(name: str, ask: Callable[[], float]) -> Iterator[Finding]:
    """How far another clock is from ours: of some answers the quickest counts."""
    told = []
    for _ in range(_TRIES):
        began, began_ms = time.monotonic(), time.time() * 1000
        theirs_ms = ask()
        took_ms = (time.monotonic() - began) * 1000
        told.append((took_ms, theirs_ms - began_ms - took_ms / 2))
    took_ms, ahead_ms = min(told)
    yield clock(name, ahead_ms, took_ms / 2)


def clock(name: str, ahead_ms: float, uncertainty_ms: float) -> Finding:
    """What an offset means; only what exceeds its uncertainty counts."""
    says = f"{ahead_ms:+.1f} ms ahead of this machine's, ± {uncertainty_ms:.1f}"
    proven_ms = abs(ahead_ms) - uncertainty_ms
    if proven_ms > CLOCK_WRONG_MS:
        return fail(name, f"{says}: trades land in the wrong bucket's grace", NTP)
    return warn(name, says, NTP) if proven_ms > CLOCK_DOUBTED_MS else ok(name, says)


def _kind(error: Exception) -> str:
    """The class only: a message may hold an address with a password."""
    return f" ({type(error.__cause__ or error).__name__})"


def _start(name: str) -> str:
    return f"start Livermore (make run) or the server, and look at {name}: host, port, user, password"
