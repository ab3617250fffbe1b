"""How tasks are tried again: at the time a budget names, and with growing pauses after other trouble."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
import redis
from celery import Celery, Task
from celery.contrib.testing.worker import start_worker
from celery.exceptions import Retry

from livermore.celery import LONGEST_WAIT_S, TRIES, WAITS, TryAgain
from livermore.core.errors import RateLimited, Transient, VenueUnavailable
from tests.support.redis_server import RedisServer


@pytest.fixture
def app(redis_server: RedisServer, redis_state: redis.Redis) -> Iterator[Celery]:
    app = Celery("toy", broker=redis_server.broker_url, set_as_current=False, fixups=[])
    app.conf.task_ignore_result = True
    yield app
    app.close()


def failing(app: Celery, trouble: Callable[[], Transient]) -> Task:
    @app.task(name="toy.fail", base=TryAgain)
    def fail() -> None:
        raise trouble()

    return fail


def pause_s(task: Task, *, retries: int = 0, waits: int = 0) -> float:
    """When a task that fails now is tried again; raises its trouble when it is not."""
    task.push_request(called_directly=False, retries=retries, headers={"waits": waits}, args=(), kwargs={})
    try:
        with pytest.raises(Retry) as again:
            task.run()
    finally:
        task.pop_request()
    return again.value.when


def limited(for_s: float) -> Callable[[], Transient]:
    return lambda: RateLimited("used up", int((time.time() + for_s) * 1000))


def test_a_worker_tries_again_when_the_budget_opens_and_counts_no_failure(app: Celery) -> None:
    ran_s: list[float] = []
    done = threading.Event()
    opens_s = time.time() + 3

    @app.task(name="toy.ask", base=TryAgain)
    def ask() -> None:
        ran_s.append(time.time())
        if len(ran_s) <= TRIES + 2:
            raise RateLimited("used up", int(ran_s[-1] * 1000))
        if ran_s[-1] < opens_s:
            raise RateLimited("used up", int(opens_s * 1000))
        done.set()

    with start_worker(app, pool="solo", perform_ping_check=False, loglevel="CRITICAL"):
        ask.delay()
        assert done.wait(20)
    assert len(ran_s) == TRIES + 4
    assert opens_s - 0.01 <= ran_s[-1] < opens_s + 3


@pytest.mark.parametrize(
    ("for_s", "least_s", "most_s"),
    [(7, 6, 7), (-3, 0, 0), (259_200, LONGEST_WAIT_S, LONGEST_WAIT_S)],
)
def test_a_spent_budget_is_waited_for_and_a_long_ban_in_steps(
    for_s: float, least_s: float, most_s: float, app: Celery
) -> None:
    assert least_s <= pause_s(failing(app, limited(for_s))) <= most_s


def test_waiting_uses_up_no_tries(app: Celery) -> None:
    down = failing(app, lambda: VenueUnavailable("time-out"))
    assert 0 <= pause_s(down, retries=WAITS + TRIES - 1, waits=WAITS) <= 30
    with pytest.raises(VenueUnavailable):
        pause_s(down, retries=WAITS + TRIES, waits=WAITS)


def test_trouble_that_stays_is_given_up(app: Celery) -> None:
    down = failing(app, lambda: VenueUnavailable("time-out"))
    assert 0 <= pause_s(down, retries=TRIES - 1) <= 30
    with pytest.raises(VenueUnavailable):
        pause_s(down, retries=TRIES)


def test_a_budget_that_never_opens_is_given_up(app: Celery) -> None:
    with pytest.raises(RateLimited):
        pause_s(failing(app, limited(60)), retries=WAITS + TRIES, waits=WAITS)
