"""A whole deployment in processes: broker, state, database, workers, beat, stream host; for integration tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import kombu
import psycopg
import pytest
import redis

from exchanges import registry
from livermore import embedded, processes

ROOT = Path(__file__).resolve().parents[2]
GIVEN = ("DATABASE_URL", "CELERY_BROKER_URL", "STATE_REDIS_URL")
"""Taken from the environment where set: the same test then runs on PostgreSQL and RabbitMQ."""


class Stack:
    """Processes that share one environment. Everything is stopped at the end of `stack`."""

    def __init__(self, var_dir: Path, **environment: str) -> None:
        self.var_dir = var_dir
        self.logs = var_dir / "log"
        self.logs.mkdir(parents=True, exist_ok=True)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        given = {name: os.environ[name] for name in GIVEN if os.environ.get(name)}
        self._server = None if len(given) == len(GIVEN) else embedded.start(var_dir)
        self.environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "livermore.settings",
            "LIVERMORE_ENV": "local",
            "LIVERMORE_VAR": str(var_dir),
            "DATABASE_URL": f"sqlite:///{var_dir / 'livermore.sqlite3'}",
            "CELERY_BROKER_URL": embedded.url(var_dir, 0),
            "STATE_REDIS_URL": embedded.url(var_dir, 1),
            **given,
            **environment,
        }
        self.state = redis.Redis.from_url(self.environment["STATE_REDIS_URL"])

    # ---- processes -----------------------------------------------------------------------------

    def manage(self, *arguments: str, check: bool = True, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a management command to its end."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT, env=self.environment, check=check, timeout=timeout_s, capture_output=True, text=True,
        )  # fmt: skip

    def python(self, source: str) -> Any:
        """Run a snippet inside Django in a process of its own; what it prints last must be JSON."""
        done = self.manage("shell", "--no-imports", "-c", source)
        return json.loads(done.stdout.strip().splitlines()[-1])

    def start(self, name: str, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start a long-lived process; its output goes to `<name>.log`."""
        with (self.logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *arguments], cwd=ROOT, env={**self.environment, **environment},
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        self._processes[name] = process
        return process

    def worker(self, name: str, queues: Sequence[str], *more: str, **environment: str) -> subprocess.Popen[bytes]:
        """A solo worker on these queues, with `more` options of Celery's."""
        return self.start(
            name, "-m", "celery", "-A", "livermore", "worker", "-P", "solo", "-n", f"{name}-{os.getpid()}@%h", "-Q",
            ",".join(queues), "--without-gossip", "--without-mingle", "--loglevel", "INFO", *more, **environment,
        )  # fmt: skip

    def beat(self) -> subprocess.Popen[bytes]:
        """Beat with the schedules of the database."""
        schedule = ("--max-interval", "1", "--pidfile=", "--loglevel", "INFO")
        return self.start("beat", "-m", "celery", "-A", "livermore", "beat", *schedule)

    def kill(self, name: str) -> None:
        """SIGKILL a process and all its children."""
        process = self._processes[name]
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=10)

    def process(self, name: str) -> subprocess.Popen[bytes]:
        """The newest one of this name."""
        return self._processes[name]

    def pid(self, name: str) -> int:
        """Of a process by its name; "redis" is broker and state, where they are ours."""
        if name != "redis":
            return self._processes[name].pid
        if self._server is None:
            pytest.skip("the broker is not ours to stop")
        return self._server.pid

    def log(self, name: str) -> str:
        """What a process has printed."""
        return (self.logs / f"{name}.log").read_text(errors="replace")

    @contextmanager
    def without_redis(self) -> Iterator[None]:
        """Broker and state are away; afterwards they are back, at the same address and with what they held."""
        if self._server is None:
            pytest.skip("the broker is not ours to stop")
        self._server.terminate()
        self._server.wait(timeout=10)
        try:
            yield
        finally:
            self._server = embedded.start(self.var_dir)

    def stop(self) -> None:
        """End every process, the database server's clients first."""
        alive = [process for process in self._processes.values() if process.poll() is None]
        for process in alive:
            process.terminate()
        deadline = time.monotonic() + 15
        for process in alive:
            try:
                process.wait(timeout=max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(timeout=5)
        self.state.close()
        if self._server is not None:
            self._server.terminate()
            self._server.wait(timeout=10)

    # ---- waiting -------------------------------------------------------------------------------

    def wait(self, what: str, condition: Callable[[], Any], timeout_s: float = 60.0) -> Any:
        """Wait until the condition gives something true, and return that; fails with the logs' ends."""
        deadline = time.monotonic() + timeout_s
        while True:
            found = condition()
            if found:
                return found
            if time.monotonic() > deadline:
                tails = "\n".join(f"--- {n}\n{self.log(n)[-1500:]}" for n in self._processes)
                raise AssertionError(f"not within {timeout_s} s: {what}\n{tails}")
            time.sleep(0.05)


@contextmanager
def stack(var_dir: Path, environment: Mapping[str, str] | None = None) -> Iterator[Stack]:
    """A migrated, empty deployment."""
    running = Stack(var_dir, **(environment or {}))
    try:
        _empty(running.environment["DATABASE_URL"], running.environment["CELERY_BROKER_URL"])
        running.manage("migrate", "--verbosity", "0", timeout_s=120)
        yield running
    finally:
        running.stop()


def _empty(database_url: str, broker_url: str) -> None:
    """Services that were given may hold what another test left; what we started ourselves is new."""
    if database_url.startswith("postgres"):
        with psycopg.connect(database_url, autocommit=True) as connection:
            name = connection.info.dbname
            assert "test" in name, f"refusing to empty the database {name!r}: its name does not say test"
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
    if broker_url.startswith("amqp"):
        with kombu.Connection(broker_url) as connection:
            for worker in processes.WORKERS.values():
                for queue in processes.queues(worker, registry.slugs()):
                    connection.default_channel.queue_delete(queue)
