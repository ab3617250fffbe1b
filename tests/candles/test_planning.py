"""Which requests bring the missing bars: all of them, none twice, as few as there can be."""

from __future__ import annotations

import random

import pytest

from candles.planning import Page, Plan, Series, pages
from exchanges.allowance import Allowance
from exchanges.venue import KlinePage
from livermore.core.candle import Timeframe

STEP = Timeframe.M5.ms
TEN = KlinePage(bars=10, weight=3)


def planned(present: list[int], end: int, ours: int | None = None) -> list[tuple[int, int, int]]:
    """Pages by position instead of time."""
    folded = set() if ours is None else {ours * STEP}
    found = pages([n * STEP for n in present], 0, end * STEP, Timeframe.M5, TEN, ours=folded)
    return [(page.from_ms // STEP, page.to_ms // STEP, page.missing) for page in found]


def test_what_is_there_is_not_asked_for():
    assert planned(list(range(25)), 25) == []
    assert planned([*range(4), *range(6, 25)], 25) == [(4, 6, 2)]


def test_the_newest_come_first_and_the_last_page_is_short():
    assert planned([], 25) == [(15, 25, 10), (5, 15, 10), (0, 5, 5)]


def test_holes_that_lie_near_share_a_request_and_those_far_apart_do_not():
    assert planned([n for n in range(30) if n not in (3, 11)], 30) == [(3, 12, 2)]
    assert planned([n for n in range(30) if n not in (1, 11)], 30) == [(11, 12, 1), (1, 2, 1)]


def test_a_bar_of_ours_that_follows_has_room_in_the_request():
    assert planned(list(range(10, 25)), 25) == [(0, 10, 10)]
    assert planned(list(range(10, 25)), 25, ours=10) == [(1, 10, 9), (0, 1, 1)]


@pytest.mark.parametrize("seed", range(20))
def test_pages_hold_every_missing_bar_once_and_fit(seed):
    chance = random.Random(seed)
    present = [n for n in range(200) if chance.random() < seed / 20]
    found = planned(present, 200)
    missing = set(range(200)) - set(present)
    held = [n for first, beyond, _ in found for n in range(first, beyond) if n in missing]
    assert sorted(held) == sorted(missing)
    assert all(beyond - first <= 10 for first, beyond, _ in found)
    assert [count for *_, count in found] == [len(missing & set(range(f, b))) for f, b, _ in found]
    assert found == sorted(found, reverse=True)


def test_bars_that_are_not_aligned_to_the_ends_stay_inside():
    found = pages([], STEP + 1, 4 * STEP + 1, Timeframe.M5, TEN)
    assert found == [Page(2 * STEP, 4 * STEP, 2)]


def test_days_that_are_put_together_have_a_page_of_their_own():
    page = KlinePage(bars=500, weight=1, days=83)
    assert [page.most(t) for t in (Timeframe.H4, Timeframe.D1)] == [500, 83]


def test_a_plan_adds_up():
    series = [
        Series("BTC-USDT", "BTCUSDT", Timeframe.M5, 0, 5 * STEP, (Page(0, 5 * STEP, 5),)),
        Series("BTC-USDT", "BTCUSDT", Timeframe.H1, 0, 0, ()),
    ]
    plan = Plan("toy", 3, series)
    assert (plan.calls, plan.missing, plan.weight) == (1, 5, 3)
    assert 0.05 < plan.seconds(Allowance(60, 600, 9, 100), 0) < 0.5
    assert Plan("toy", 3, []).seconds(Allowance(60, 600, 9, 100), 0) == 0
