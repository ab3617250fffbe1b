"""The REST budget against a real Redis: its law, several processes at once, refusals and the venue's own count."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis

from exchanges import ratelimit
from exchanges.http import Door
from exchanges.ratelimit import SharedBudget
from livermore.core.errors import InvalidInput, RateLimited, StoreUnavailable
from tests.support.http_server import Answer, http_server
from tests.support.redis_server import RedisServer

ROOT = Path(__file__).resolve().parents[2]
SECOND = 1_000_000_000
NOON_S = 1_790_000_040  # a whole minute


class Clock:
    """Stands in for the module `time`: passes only when somebody sleeps."""

    def __init__(self, now_s: float = NOON_S) -> None:
        self.now_ns = int(now_s * SECOND)

    def time_ns(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.now_ns += -(-int(seconds * SECOND * 1000) // 1000) + 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, redis_state: redis.Redis) -> Clock:
    clock = Clock()
    monkeypatch.setattr(ratelimit, "time", clock)
    return clock


def fullest(grants: Sequence[tuple[int, int]], window_ns: int) -> int:
    """The most weight that any window holds, however it lies."""
    return max(
        sum(weight for at, weight in grants if begin <= at < begin + window_ns) for begin in {at for at, _ in grants}
    )


# ---- the law ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "window_s", "weights"),
    [
        (10, 1, (1,)),
        (5, 1, (1,)),
        (19, 2, (1,)),
        (6000, 60, (2, 4, 20, 80)),
        (1200, 60, (1, 10, 40)),
        (2000, 30, (3, 4, 15)),
        (500, 10, (1, 10, 40)),
    ],
)
def test_however_a_window_lies_it_holds_no_more_than_the_limit(
    limit: int, window_s: int, weights: tuple[int, ...], clock: Clock
) -> None:
    chance = random.Random(limit)
    budget = SharedBudget("toy", limit, window_s, patience_s=3600)
    grants = []
    begun_ns = clock.now_ns + chance.randrange(window_s * SECOND)
    clock.now_ns = begun_ns
    while clock.now_ns < begun_ns + 4 * window_s * SECOND:
        weight = chance.choice(weights)
        budget.spend(weight)
        grants.append((clock.now_ns, weight))
        clock.now_ns += chance.randrange(window_s * SECOND // 1000)
    assert fullest(grants, window_s * SECOND) <= limit
    assert sum(weight for _, weight in grants) >= 4 * limit * 0.6  # it may be used, too


def test_a_full_slot_makes_a_call_wait_for_the_next_and_no_longer(clock: Clock) -> None:
    budget = SharedBudget("toy", 10, 1)
    begun_ns = clock.now_ns
    for _ in range(9):
        budget.spend(1)
    assert 8 / 9 <= (clock.now_ns - begun_ns) / SECOND < 8 / 9 + 0.001


def test_a_wait_beyond_our_patience_is_left_to_the_caller_who_learns_the_time(clock: Clock) -> None:
    budget = SharedBudget("toy", 20, 60, patience_s=5)
    budget.spend(2)
    begun_ns = clock.now_ns
    with pytest.raises(RateLimited) as refused:
        budget.spend(1)
    assert clock.now_ns == begun_ns
    assert refused.value.until_ms == NOON_S * 1000 + 6667
    clock.now_ns = refused.value.until_ms * 1_000_000
    budget.spend(1)
    assert clock.now_ns == refused.value.until_ms * 1_000_000


def test_a_refused_call_leaves_nothing_behind(clock: Clock) -> None:
    budget = SharedBudget("toy", 100, 60, patience_s=0)
    budget.spend(6)
    for _ in range(5):
        with pytest.raises(RateLimited):
            budget.spend(5)
    budget.spend(4)


def test_a_call_that_no_window_can_hold_is_said_to_the_operator(clock: Clock) -> None:
    with pytest.raises(InvalidInput, match="raise its limit of rest"):
        SharedBudget("toy", 50, 60).spend(80)


def test_a_call_heavier_than_a_slot_gets_one_to_itself(clock: Clock) -> None:
    budget = SharedBudget("toy", 500, 60, patience_s=0)
    budget.spend(80)
    with pytest.raises(RateLimited):
        budget.spend(1)


def test_exchanges_have_budgets_of_their_own(clock: Clock) -> None:
    for exchange in ("toy", "other"):
        SharedBudget(exchange, 10, 1, patience_s=0).spend(1)


def test_what_may_wait_takes_its_share_and_leaves_the_rest(clock: Clock) -> None:
    urgent = SharedBudget("toy", 1000, 60, patience_s=5)
    patient = SharedBudget("toy", 1000, 60, share=0.4, patience_s=5)
    for _ in range(18):  # 360 are four tenths of the 900 that are used of 1000
        clock.now_ns += 7 * SECOND // 5
        patient.spend(20)
    with pytest.raises(RateLimited) as refused:
        patient.spend(20)
    assert refused.value.until_ms == (NOON_S + 60) * 1000
    urgent.spend(100)


def test_a_window_of_a_second_is_not_divided_by_who_asks(clock: Clock) -> None:
    budget = SharedBudget("toy", 10, 1, share=0.4)
    begun_ns = clock.now_ns
    for _ in range(18):
        budget.spend(1)
    assert clock.now_ns - begun_ns < 2 * SECOND


def test_without_redis_nothing_is_sent(settings: Any) -> None:
    settings.STATE_REDIS_URL = "redis://127.0.0.1:1/0"
    with http_server(lambda _: Answer({})) as server, pytest.raises(StoreUnavailable):
        Door(server.url, SharedBudget("toy", 10, 1), allowed=["GET /x"]).fetch("/x")
    assert server.asked == []


# ---- several at once -------------------------------------------------------------------------------

SPEND = """
import threading
from exchanges.ratelimit import SharedBudget
budget = SharedBudget("toy", 40, 2, patience_s=60)
def spend():
    for _ in range(15):
        budget.spend(1)
threads = [threading.Thread(target=spend) for _ in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_two_processes_of_two_threads_keep_one_limit(redis_server: RedisServer, redis_state: redis.Redis) -> None:
    environment = {**os.environ, **redis_server.environment(), "DJANGO_SETTINGS_MODULE": "livermore.settings"}
    processes = [
        subprocess.Popen([sys.executable, "-c", SPEND], cwd=ROOT, env=environment) for _ in range(2)
    ]
    assert [process.wait(60) for process in processes] == [0, 0]
    slots = redis_state.keys("limit:toy:rest-slot:*")
    counts = {int(key.rpartition(b":")[2]): int(redis_state.get(key)) for key in slots}
    assert sum(counts.values()) == 60
    # Nine slots are two seconds: however these lie, they touch ten.
    assert max(sum(counts.get(first + n, 0) for n in range(10)) for first in counts) <= 40


# ---- refusals --------------------------------------------------------------------------------------


def test_after_429_nobody_calls_before_the_time_the_venue_named(redis_state: redis.Redis) -> None:
    arrivals: list[float] = []

    def answer(_: object) -> Answer:
        arrivals.append(time.time())
        return Answer({}, 429, {"Retry-After": "3"}) if len(arrivals) == 1 else Answer({})

    def insist(_: int) -> None:
        door = Door(server.url, SharedBudget("toy", 1000, 10, patience_s=0.05), allowed=["GET /x"])
        while len(arrivals) < 8:
            try:
                door.fetch("/x")
            except RateLimited:
                time.sleep(0.02)

    with http_server(answer) as server:
        with pytest.raises(RateLimited):
            Door(server.url, SharedBudget("toy", 1000, 10), allowed=["GET /x"]).fetch("/x")
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(insist, range(4)))
    assert arrivals[1] - arrivals[0] >= 3


def test_a_ban_closes_for_everybody_and_a_shorter_pause_does_not_end_it(clock: Clock) -> None:
    ban_ms, short_ms = (NOON_S + 7200) * 1000, (NOON_S + 3) * 1000
    SharedBudget("toy", 1000, 60).close(ban_ms)
    SharedBudget("toy", 1000, 60).close(short_ms)
    with pytest.raises(RateLimited) as refused:
        SharedBudget("toy", 1000, 60).spend(1)
    assert refused.value.until_ms == ban_ms
    SharedBudget("other", 1000, 60).spend(1)
    clock.now_ns = ban_ms * 1_000_000
    SharedBudget("toy", 1000, 60).spend(1)


def test_a_418_is_asked_once(redis_state: redis.Redis) -> None:
    with http_server(lambda _: Answer({"code": -1003}, 418, {"Retry-After": "259200"})) as server:
        for _ in range(3):
            with pytest.raises(RateLimited) as refused:
                Door(server.url, SharedBudget("toy", 1000, 60), allowed=["GET /x"]).fetch("/x")
            assert refused.value.until_ms / 1000 > time.time() + 259_000
    assert len(server.asked) == 1
    assert 0 < redis_state.ttl("limit:toy:rest:closed") <= 7 * 86_400


# ---- the venue's own count -------------------------------------------------------------------------


def test_a_higher_count_of_the_venue_raises_ours_until_its_window_ends(clock: Clock) -> None:
    budget = SharedBudget("toy", 100, 60, patience_s=0)
    clock.now_ns += 30 * SECOND
    budget.spend(4)
    budget.told(86)
    budget.told(50)  # an older answer
    budget.spend(4)
    with pytest.raises(RateLimited) as refused:
        budget.spend(1)
    assert refused.value.until_ms == (NOON_S + 60) * 1000
    clock.now_ns += 30 * SECOND
    budget.spend(1)


def test_a_count_of_the_window_before_is_not_taken_for_this_one(clock: Clock) -> None:
    clock.now_ns += 2 * SECOND
    budget = SharedBudget("toy", 100, 60, patience_s=0)
    budget.told(100)
    budget.spend(1)
