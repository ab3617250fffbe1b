"""Three beats run and one sends; when it is killed, the next goes on without a slot sent twice."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
import redis

from livermore.core import keys
from tests.support.stack import Stack, stack

MAKE_SCHEDULES = """
from django_celery_beat.models import IntervalSchedule, PeriodicTask
PeriodicTask.objects.all().delete()
second = IntervalSchedule.objects.create(every=1, period="seconds")
day = IntervalSchedule.objects.create(every=1, period="days")
PeriodicTask.objects.create(name="often", task="candles.sweep", interval=second, queue="often")
PeriodicTask.objects.create(name="daily", task="candles.retire", interval=day, queue="daily")
PeriodicTask.objects.filter(name="daily").update(last_run_at="2020-01-01T00:00:00Z")
"""
NAMES = ("beat1", "beat2", "beat3")


def sent(broker: redis.Redis, queue: str) -> list[int]:
    """When (ms) each message of a queue was sent, oldest first."""
    return [json.loads(text)["headers"]["published_ms"] for text in reversed(broker.lrange(queue, 0, -1))]


def holder(running: Stack) -> str:
    return (running.state.get(keys.lease("beat")) or b"").decode()


@pytest.mark.slow
def test_three_beats_send_each_slot_once_and_a_killed_one_is_succeeded(tmp_path):
    with stack(tmp_path) as running:
        if not running.environment["CELERY_BROKER_URL"].startswith("redis"):
            pytest.skip("the messages of RabbitMQ cannot be read without taking them")
        running.manage("shell", "--no-imports", "-c", MAKE_SCHEDULES)
        broker = redis.Redis.from_url(running.environment["CELERY_BROKER_URL"])
        for name in NAMES:
            running.start(name, "-m", "celery", "-A", "livermore", "beat", "--max-interval", "1", "--pidfile=")
        running.wait("some slots", lambda: len(sent(broker, "often")) >= 4)
        first = holder(running)
        (leader,) = [name for name in NAMES if first.startswith(f"beat-{running.pid(name)}@")]
        before = len(sent(broker, "often"))
        running.kill(leader)
        running.wait("a successor's slots", lambda: len(sent(broker, "often")) >= before + 4)
        assert any(holder(running).startswith(f"beat-{running.pid(name)}@") for name in NAMES if name != leader)
        times = sent(broker, "often")
        # A slot is a second; beat may be late by what it sleeps, never early.
        assert min(b - a for a, b in pairwise(times)) > 900, times
        assert len(sent(broker, "daily")) == 1
        broker.close()
