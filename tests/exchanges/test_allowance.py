"""The time that requests take within a budget: what is computed beforehand is what the budget then grants."""

from __future__ import annotations

import pytest
import redis

from exchanges import ratelimit
from exchanges.allowance import Allowance
from exchanges.ratelimit import BACKGROUND_SHARE, SharedBudget
from tests.exchanges.test_ratelimit import NOON_S, SECOND, Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, redis_state: redis.Redis) -> Clock:
    clock = Clock()
    monkeypatch.setattr(ratelimit, "time", clock)
    return clock


@pytest.mark.parametrize(
    ("limit", "window_s", "weight", "calls", "call_s"),
    [
        (6000, 60, 2, 2500, 0.02),  # the share of a window is used up before the window is over
        (6000, 60, 2, 400, 0.3),  # the calls themselves take longer than the budget
        (10, 1, 1, 60, 0.01),  # a slot a call
        (2000, 30, 3, 700, 0.05),
        (500, 10, 3, 200, 0.05),
        (6000, 60, 2, 1, 0.1),
    ],
)
@pytest.mark.parametrize("begin_s", [0.0, 25.0])
def test_it_is_the_time_that_the_budget_takes(
    limit: int, window_s: int, weight: int, calls: int, call_s: float, begin_s: float, clock: Clock
) -> None:
    budget = SharedBudget("toy", limit, window_s, share=BACKGROUND_SHARE, patience_s=3600)
    clock.now_ns += int(begin_s * SECOND)
    begun_ns = clock.now_ns
    expected_s = budget.allowance().seconds(calls, weight, call_s, begun_ns)
    for _ in range(calls):
        budget.spend(weight)
        clock.now_ns += int(call_s * SECOND)
    assert expected_s == pytest.approx((clock.now_ns - begun_ns) / SECOND, rel=0.05, abs=0.2)


def test_what_is_spent_of_the_running_window_counts(clock: Clock) -> None:
    budget = SharedBudget("toy", 1000, 60, share=BACKGROUND_SHARE, patience_s=3600)
    for _ in range(35):
        budget.spend(10)
    allowance = budget.allowance()
    assert (allowance.per_window, allowance.spent) == (360, 350)
    clock.now_ns = (NOON_S + 50) * SECOND
    assert allowance.seconds(1, 10, 0.1, clock.now_ns) == pytest.approx(0.1)
    assert allowance.seconds(2, 10, 0.1, clock.now_ns) == pytest.approx(10.1)


def test_nothing_takes_no_time() -> None:
    assert Allowance(60, 360, 9, 100).seconds(0, 10, 0.1, NOON_S * SECOND) == 0
