"""A queue whose oldest message waits is told on the overview, and long waiting makes us unready."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from django.test import Client

from candles import tasks
from livermore import queues
from livermore.celery import PUBLISHED
from livermore.core.errors import StoreUnavailable
from tests.web.market_data import now_ms

QUEUE = "candles"


@pytest.fixture
def broker(redis_state: Any, settings: Any) -> Iterator[redis.Redis]:
    """Real messages of ours wait in it."""
    client = redis.Redis.from_url(settings.CELERY_BROKER_URL)
    for _ in range(3):
        tasks.sweep.apply_async(expires=3600)
    yield client
    client.close()


def grow_old(broker: redis.Redis, queue: str, age_s: float) -> None:
    """Let the oldest message of a queue have been put there so long ago."""
    message = json.loads(broker.lindex(queue, -1))
    message["headers"][PUBLISHED] = now_ms() - int(age_s * 1000)
    broker.lset(queue, -1, json.dumps(message))


def test_depth_and_age_are_those_of_the_oldest_message_which_stays(broker: redis.Redis) -> None:
    (found,) = queues.look([QUEUE, "nothing"])
    assert (found.queue, found.depth, found.consumers) == (QUEUE, 3, None)
    assert found.oldest == json.loads(broker.lindex(QUEUE, -1))["headers"]["id"]
    assert 0 <= found.age_ms < 60_000
    assert broker.llen(QUEUE) == 3


def test_what_waits_for_venues_may_wait(broker: redis.Redis) -> None:
    for queue in (QUEUE, "backfill.kucoin"):
        tasks.adopt_klines.apply_async(("kucoin", "BTC-USDT"), queue=queue)
        grow_old(broker, queue, 4000)
    assert [one.queue for one in queues.late()] == [QUEUE]


@pytest.mark.parametrize(("age_s", "is_shown", "is_ready"), [(1, False, True), (11, True, True), (61, True, False)])
def test_the_overview_tells_ten_seconds_and_readiness_a_minute(
    browser: Client, broker: redis.Redis, age_s: float, is_shown: bool, is_ready: bool
) -> None:
    grow_old(broker, QUEUE, age_s)
    page = " ".join(browser.get("/parts/cards/").content.decode().split())
    assert ("3 messages wait in <code>candles</code>" in page) is is_shown
    answer = browser.get("/health/ready")
    assert answer.json()["stuck"] == ([] if is_ready else ["queues"])
    assert answer.status_code == (200 if is_ready else 503)


def test_once_they_are_taken_the_banner_is_gone(browser: Client, broker: redis.Redis) -> None:
    grow_old(broker, QUEUE, 30)
    assert "messages wait" in browser.get("/").content.decode()
    broker.delete(QUEUE)
    assert "messages wait" not in browser.get("/").content.decode()


def test_a_broker_that_is_away_is_one_error(redis_state: Any) -> None:
    from livermore.celery import app

    app.conf.broker_url = "redis://:hush@127.0.0.1:1/0"
    with pytest.raises(StoreUnavailable) as away:
        queues.look([QUEUE])
    assert "hush" not in str(away.value)
