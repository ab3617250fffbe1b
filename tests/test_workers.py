"""How workers take, keep and give back messages, and that one which has grown too large is replaced."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

import livermore.tasks
from candles.services import canary
from livermore import processes
from livermore.celery import MEMORY_ASKED_EVERY, app
from tests.support.redis_server import RedisServer
from tests.support.waiting import until

ROOT = processes.BASE_DIR
SHOW = """
import json
from livermore.celery import app
names = ("worker_prefetch_multiplier", "worker_max_memory_per_child")
print(json.dumps({name: app.conf[name] for name in names}))
"""


@pytest.mark.parametrize(
    ("broker", "prefetch"), [("redis://127.0.0.1:1/0", 1), ("sentinel://127.0.0.1:1", 1), ("amqp://127.0.0.1:1//", 64)]
)
def test_solo_workers_fetch_one_message_from_redis_and_many_from_rabbitmq(broker: str, prefetch: int) -> None:
    environment = {**os.environ, "CELERY_BROKER_URL": broker, "WORKER_MAX_MEMORY_MB": "300"}
    said = subprocess.run([sys.executable, "-c", SHOW], cwd=ROOT, env=environment, capture_output=True, check=True)
    assert json.loads(said.stdout) == {
        "worker_prefetch_multiplier": prefetch,
        "worker_max_memory_per_child": 300 * 1024,
    }


def test_a_worker_whose_tasks_are_long_fetches_no_more_than_it_works_on() -> None:
    assert "--prefetch-multiplier=1" in processes.worker("io", ["kucoin"]).command


def test_no_message_is_lost_with_a_worker_and_none_is_acknowledged_before_it_is_done() -> None:
    for name, task in app.tasks.items():
        if not name.startswith("celery."):
            assert (task.acks_late, task.reject_on_worker_lost, task.ignore_result) == (True, True, True), name
    assert app.conf.worker_soft_shutdown_timeout < processes.worker("io", []).stop_within_s + 10
    assert app.conf.worker_enable_soft_shutdown_on_idle


# ---- real ones -----------------------------------------------------------------------------------

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(redis_state: redis.Redis, redis_server: RedisServer, tmp_path: Path) -> Iterator[Start]:
    """A solo worker of the queue `signals`."""
    started: list[subprocess.Popen[bytes]] = []

    def worker(**environment: str) -> subprocess.Popen[bytes]:
        whole = {**os.environ, **redis_server.environment(), "LIVERMORE_VAR": str(tmp_path), **environment}
        with (tmp_path / "worker.log").open("ab") as log:
            command = processes.worker("signals", []).command
            started.append(subprocess.Popen(command, cwd=ROOT, env=whole, stdout=log, stderr=log))
        return started[-1]

    yield worker
    for process in started:
        process.kill()
        process.wait()


def send(count: int) -> None:
    for _ in range(count):
        livermore.tasks.publish_canary.apply_async(("binance", 1))


def test_a_worker_that_grew_too_large_ends_in_good_order_and_loses_nothing(
    start: Start, redis_state: redis.Redis, settings: Any, tmp_path: Path
) -> None:
    send(MEMORY_ASKED_EVERY + 20)
    worker = start(WORKER_MAX_MEMORY_MB="1")
    assert until(lambda: worker.poll() is not None and [worker.poll()], within_s=30) == [0]
    broker = redis.Redis.from_url(settings.CELERY_BROKER_URL)
    left = broker.llen("signals")
    assert 10 <= left <= 20  # it asks after so many; one may have been in hand
    assert broker.hlen("unacked") == 0
    assert "worker.too_large" in (tmp_path / "worker.log").read_text()


def test_a_worker_told_to_end_gives_back_what_it_has_not_done(
    start: Start, redis_state: redis.Redis, settings: Any
) -> None:
    worker = start()
    send(1)
    first = until(lambda: canary.stations("binance")[canary.SIGNALS].at_ms, within_s=30)
    assert first <= time.time() * 1000
    send(200)
    worker.send_signal(signal.SIGTERM)
    assert until(lambda: worker.poll() is not None and [worker.poll()], within_s=30) == [0]
    broker = redis.Redis.from_url(settings.CELERY_BROKER_URL)
    assert broker.hlen("unacked") == 0
