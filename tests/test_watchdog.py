"""A worker that takes nothing although something waits is noticed by what it takes, and replaced."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis
from django.core.management import CommandError, call_command

import livermore.tasks
from candles.services import canary
from livermore import processes, watchdog
from livermore.progress import Watch
from livermore.queues import Waiting
from livermore.supervisor import Supervisor
from livermore.watchdog import Watchdog
from tests.support.redis_server import RedisServer
from tests.support.waiting import until

A, B = "ticks.a.0", "ticks.b.0"


def seen(**oldest: str) -> dict[str, Waiting]:
    return {name: Waiting(name, 1, one) for name, one in ((A, oldest.get("a")), (B, oldest.get("b"))) if one}


def test_a_worker_is_stuck_when_it_takes_from_none_of_its_queues() -> None:
    watch = Watch([A, B], 20)
    assert watch.see(seen(a="1", b="1"), 0)
    assert watch.see(seen(a="2", b="1"), 15)  # it takes from one
    assert watch.see(seen(a="2", b="1"), 34)
    assert not watch.see(seen(a="2", b="1"), 36)
    watch.forget()
    assert watch.see(seen(a="2", b="1"), 37)


def test_a_worker_without_work_is_not_stuck() -> None:
    watch = Watch([A], 20)
    assert watch.see(seen(a="1"), 0)
    assert watch.see({}, 19)
    assert watch.see(seen(a="1"), 21)  # it came again
    assert watch.see(seen(b="9"), 99)  # not ours
    assert watch.see(seen(a="1"), 100)


@pytest.mark.parametrize(("consumers", "is_stuck"), [(0, True), (1, False)])
def test_where_no_message_is_shown_only_a_lack_of_consumers_counts(consumers: int, is_stuck: bool) -> None:
    watch = Watch([A], 20)
    waiting = {A: Waiting(A, 7, consumers=consumers)}
    assert watch.see(waiting, 0)
    assert watch.see(waiting, 50) is not is_stuck


# ---- the command ---------------------------------------------------------------------------------


@pytest.fixture
def broker(redis_state: redis.Redis, settings: Any) -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(settings.CELERY_BROKER_URL)
    yield client
    client.close()


def send() -> None:
    livermore.tasks.publish_canary.apply_async(("binance", 1))


def test_the_health_check_tells_who_takes_nothing(broker: redis.Redis) -> None:
    call_command("worker_alive", "signals", for_s=0.3)
    send()
    with pytest.raises(CommandError, match=r"took nothing for 0\.3 s although 1 messages wait in signals"):
        call_command("worker_alive", "signals", for_s=0.3)
    call_command("worker_alive", "candles", for_s=0.3)
    with pytest.raises(CommandError):
        call_command("worker_alive", "candles", queues="candles,signals", for_s=0.3)


def test_the_health_check_ends_well_as_soon_as_something_is_taken(broker: redis.Redis) -> None:
    for _ in range(2):
        send()
    taker = threading.Timer(0.5, broker.rpop, ["signals"])
    taker.start()
    call_command("worker_alive", "signals", for_s=60)
    taker.join()
    assert broker.llen("signals") == 1


def test_a_broker_that_is_away_is_not_the_workers_fault(redis_state: redis.Redis) -> None:
    from livermore.celery import app

    app.conf.broker_url = "redis://127.0.0.1:1/0"
    call_command("worker_alive", "signals", for_s=0.3)


# ---- the supervisor ------------------------------------------------------------------------------


@pytest.mark.timeout(240)
def test_a_frozen_worker_is_replaced_and_its_queue_goes_on(
    broker: redis.Redis, redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = replace(processes.WORKERS["signals"], stuck_after_s=1.0)
    monkeypatch.setattr(processes, "WORKERS", {"signals": kind})
    monkeypatch.setattr(watchdog, "LOOK_EVERY_S", 0.1)
    said: list[str] = []
    children = Supervisor(tmp_path / "log", processes.BASE_DIR, said.append)
    environment = {**redis_server.environment(), "LIVERMORE_VAR": str(tmp_path)}
    role = replace(processes.worker("signals", []), environment=environment)
    try:
        child = children.start(role)
        dog = Watchdog(children, [], said.append)

        def passed() -> int:
            children.watch()
            dog.look()
            return canary.stations("binance")[canary.SIGNALS].at_ms

        send()
        first = until(passed, within_s=30)  # within its grace, however long it takes to start
        frozen = child.process.pid
        os.kill(frozen, signal.SIGSTOP)
        monkeypatch.setattr(watchdog, "GRACE_S", 0.0)
        for _ in range(3):
            send()  # Redis hands the first to whoever asked before it froze; that one is lost
        until(lambda: passed() and any("taken nothing" in line for line in said), within_s=30)
        monkeypatch.setattr(watchdog, "GRACE_S", 600.0)
        until(lambda: passed() > first, within_s=30)
        assert child.process.pid != frozen
        (line,) = [line for line in said if "taken nothing" in line]
        assert re.fullmatch(r"worker-signals has taken nothing for 1 s although [23] messages wait; replaced", line)
    finally:
        children.stop(is_urgent=lambda: True)
