"""The processes that make up Livermore on one machine, and how each is started."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from livermore.supervisor import Role

BASE_DIR = Path(__file__).resolve().parent.parent
LOOPBACK = "127.0.0.1"
TICK_SHARDS = 1

# What stops first: no new frames, then the work in hand, then what the work needed.
STREAMS, WORK, VENUES, STORE = range(4)


@dataclass(frozen=True, slots=True)
class Worker:
    """A Celery worker: its queues (`{slug}` stands for every exchange) and how it runs them.

    `is_prompt`: nothing should wait in them. A worker that takes nothing for `stuck_after_s`, although something
    waits, is replaced.
    """

    queues: tuple[str, ...]
    pool: tuple[str, ...] = ("solo",)
    is_prompt: bool = True
    stuck_after_s: float = 20.0


WORKERS: Mapping[str, Worker] = {
    # Solo: prefork and threads cost 1.6 to 2.4 times the CPU for small tasks.
    "ticks": Worker(tuple(f"ticks.{{slug}}.{shard}" for shard in range(TICK_SHARDS))),
    "candles": Worker(("candles",)),
    "signals": Worker(("signals",)),
    # Threads: these tasks wait for venues and receivers, and a slow one must not hold up the others.
    "io": Worker(
        ("default", "notify", "backfill.{slug}"),
        ("threads", "--concurrency=4", "--prefetch-multiplier=1"),
        is_prompt=False,
        stuck_after_s=180.0,
    ),
}


def queues(worker: Worker, slugs: Sequence[str]) -> list[str]:
    """The names of a worker's queues when these exchanges are followed."""
    return [name for queue in worker.queues for name in _each(queue, slugs)]


def worker(name: str, slugs: Sequence[str]) -> Role:
    """One Celery worker."""
    kind = WORKERS[name]
    command = [
        *_python("-m", "celery", "-A", "livermore", "worker", "--pool"),
        *kind.pool,
        *("--hostname", f"{name}@%h", "--queues", ",".join(queues(kind, slugs))),
        *("--without-gossip", "--without-mingle", "--loglevel", "INFO"),
    ]
    return Role(worker_role(name), tuple(command), stop_rank=WORK)


def worker_role(name: str) -> str:
    """What a worker's process is called."""
    return f"worker-{name}"


def beat() -> Role:
    """What asks for periodic work; the schedules are in the database."""
    command = _python("-m", "celery", "-A", "livermore", "beat", "--max-interval", "1", "--pidfile", "")
    return Role("beat", command, stop_rank=WORK)


def flower(port: int, password: str) -> Role:
    """Shows the tasks; its password stays out of the process list."""
    command = _python("-m", "celery", "-A", "livermore", "flower", f"--address={LOOPBACK}", f"--port={port}")
    environment = {
        "FLOWER_URL_PREFIX": "flower",
        "FLOWER_BASIC_AUTH": f"admin:{password}",
        "FLOWER_MAX_TASKS": "2000",
        "FLOWER_PURGE_OFFLINE_WORKERS": "60",
    }
    return Role("flower", command, environment, stop_rank=WORK, stop_within_s=3.0)


def web(port: int, flower_url: str) -> Role:
    """Pages, API and event stream."""
    command = _python(
        *("-m", "uvicorn", "livermore.asgi:application", "--host", LOOPBACK, "--port", str(port)),
        # Event streams never end by themselves.
        *("--no-access-log", "--timeout-graceful-shutdown", "2", "--lifespan", "off"),
    )
    return Role("web", command, {"FLOWER_URL": flower_url}, stop_rank=WORK, stop_within_s=5.0)


def stream_host(slugs: Sequence[str]) -> Role:
    """Holds the sockets; on SIGTERM it flushes what it has received."""
    command = manage("stream_host", "--autostart", ",".join(slugs))
    return Role("streams", command, stop_rank=STREAMS, stop_within_s=8.0)


def simulators(slugs: Sequence[str], ports_file: Path, seed: int | None) -> Role:
    """The venues' simulators; they write their addresses to `ports_file` and keep their market beside it.

    The next start goes on with the same market: another one would contradict the candles that are stored.
    """
    options = ["--json", "--ports-file", str(ports_file), "--resume", str(ports_file.with_suffix(".market"))]
    if seed is not None:
        options += ["--seed", str(seed)]
    return Role("simulators", manage("simulate", *slugs, *options), stop_rank=VENUES, stop_within_s=4.0)


def manage(*arguments: str) -> tuple[str, ...]:
    """The command line of a management command."""
    return _python(str(BASE_DIR / "manage.py"), *arguments)


def _python(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, *arguments)


def _each(queue: str, slugs: Sequence[str]) -> list[str]:
    return [queue.format(slug=slug) for slug in slugs] if "{slug}" in queue else [queue]
