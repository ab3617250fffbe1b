"""Levels, reversals, the band in which a level waits, and what a revised bar changes (indicators.md §3.5)."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candles.indicators.alerts import REMEMBERED, Bar, Hit, Judgement, Memory, Rules, identity, judge, standing

SLOT_MS = 300_000
RULES = Rules()
GOLDEN = [
    (-140, -5), (-155, -9), (-210, -20), (-205, 6), (-190, 12), (-185, 14), (-160, 20), (-148, 22), (-151, 10),
    (-100, 30), (160, 40), (255, 30), (240, -6), (235, -9), (150, -30), (151, -10),
]  # fmt: skip
WITH_BAND = [
    (1, "level_-150"), (2, "level_-200"), (4, "reversal_oversold"), (10, "level_+150"), (11, "level_+250"),
    (13, "reversal_overbought"),
]  # fmt: skip
WITHOUT_BAND = sorted([*WITH_BAND, (8, "level_-150"), (15, "level_+150")])


def bars(pairs: list[tuple[float, float]]) -> list[Bar]:
    return [Bar(n * SLOT_MS, 0, float(macdv), float(hist)) for n, (macdv, hist) in enumerate(pairs)]


def run(of: list[Bar], rules: Rules = RULES) -> tuple[list[Hit], Memory]:
    """One bar after the other, as they close."""
    hits: list[Hit] = []
    memory: Memory | None = None
    for end in range(1, len(of) + 1):
        done = judge(rules, memory, of[:end])
        hits += done.hits
        memory = done.memory
    assert memory is not None
    return hits, memory


def told(hits: list[Hit] | tuple[Hit, ...]) -> list[tuple[int, str]]:
    return [(hit.bar.open_ms // SLOT_MS, hit.label) for hit in hits]


@pytest.mark.parametrize(("band", "expected"), [(10.0, WITH_BAND), (0.0, WITHOUT_BAND)])
def test_the_golden_sequence(band: float, expected: list[tuple[int, str]]) -> None:
    assert told(run(bars(GOLDEN), Rules(rearm_band=band))[0]) == expected


def test_of_several_levels_in_one_bar_the_deepest_is_told_and_all_wait() -> None:
    hits, memory = run(bars([(-100, 0), (-210, -20), (-195, -10), (-205, -12)]))
    assert told(hits) == [(1, "level_-200")]
    assert hits[0].passed == (-150.0, -200.0)
    assert hits[0].previous == -100
    assert standing(RULES, memory).crossed == (-150.0, -200.0)


def test_the_first_value_only_records() -> None:
    assert run(bars([(-500, 0)]))[0] == []
    assert told(run(bars([(-151, 0), (-152, 0)]))[0]) == []


@pytest.mark.parametrize(
    ("macdv", "buffer"), [(-150, 7.5), (-200, 10.0), (-300, 15.0), (150, -4.5), (200, -6.0), (300, -9.0)]
)
def test_buffers_of_reversals(macdv: float, buffer: float) -> None:
    assert RULES.buffer(macdv) == pytest.approx(buffer)
    deeper = macdv * 1.01
    for hist, is_told in ((buffer, False), (buffer * 1.001, True)):
        found = told(run(bars([(deeper, 0), (macdv * 1.0001, 0), (macdv, hist)]))[0])
        assert bool(found) is (is_told and abs(macdv) > 150)


def test_a_reversal_needs_two_extreme_bars_and_is_told_once_per_move() -> None:
    assert told(run(bars([(-140, 0), (-160, 20), (-170, 20)]))[0]) == [(1, "level_-150"), (2, "reversal_oversold")]
    again = [(-140, 0), (-160, 0), (-170, 20), (-180, 20), (-201, 0), (-195, 20)]
    assert told(run(bars(again))[0])[1:] == [(2, "reversal_oversold"), (4, "level_-200"), (5, "reversal_oversold")]


def test_the_middle_raises_nothing() -> None:
    middle = [(m, h) for m in range(-50, 51, 10) for h in (-5, 5)]
    assert run(bars(middle))[0] == []


def test_breakouts_are_a_level_one_may_add() -> None:
    assert told(run(bars([(0, 0), (51, 1)]), Rules(levels=(50.0,)))[0]) == [(1, "level_+50")]


def test_a_longer_cool_down_is_kept_in_time_of_bars() -> None:
    there_and_back = bars([(-140, 0), (-151, 0), (-100, 0), (-151, 0), (-100, 0), (-151, 0)])
    assert len(run(there_and_back)[0]) == 3
    assert told(run(there_and_back, Rules(cool_down_ms=3 * SLOT_MS))[0]) == [(1, "level_-150"), (5, "level_-150")]


def test_labels_follow_each_other() -> None:
    hits, _ = run(bars(GOLDEN))
    assert [hit.previous_label for hit in hits] == [None, *[hit.label for hit in hits[:-1]]]
    assert [str(hit.direction) for hit in hits] == ["down", "down", "up", "up", "up", "down"]


def test_what_is_remembered_survives_as_json() -> None:
    _, memory = run(bars(GOLDEN))
    assert len(memory.bars) == REMEMBERED
    again = Memory.from_dict(json.loads(json.dumps(memory.to_dict())))
    assert again == memory
    assert judge(RULES, again, bars(GOLDEN)) == Judgement(memory)


def test_the_same_window_again_finds_nothing_and_an_older_one_changes_nothing() -> None:
    of = bars(GOLDEN)
    _, memory = run(of)
    for window in (of, of[:-2]):
        assert judge(RULES, memory, window) == Judgement(memory)


def test_many_bars_at_once_are_judged_one_by_one() -> None:
    of = bars(GOLDEN)
    first = judge(RULES, None, of[:1]).memory
    done = judge(RULES, first, of)
    assert (done.since_ms, told(done.hits)) == (SLOT_MS, WITH_BAND)
    assert done.memory == run(of)[1]


def test_a_window_that_does_not_join_begins_anew() -> None:
    of = bars(GOLDEN)
    memory = judge(RULES, None, of[:1]).memory
    done = judge(RULES, memory, of[5:])
    assert (done.hits, done.memory.bars) == ((), (of[-1],))


def test_a_revised_bar_is_judged_again_with_all_that_follows() -> None:
    of = bars(GOLDEN)
    _, memory = run(of[:5])
    revised = [*of[:2], Bar(2 * SLOT_MS, 1, -160.0, -9.0), *of[3:5]]
    done = judge(RULES, memory, revised)
    assert done.since_ms == 2 * SLOT_MS
    assert told(done.hits) == [(3, "level_-200"), (4, "reversal_oversold")]
    assert done.memory == run(revised)[1]


def test_a_bar_that_was_blocked_is_judged_again_when_it_is_free() -> None:
    of = bars(GOLDEN[:3])
    blocked = [*of[:2], replace(of[2], blocked="data_gap")]
    hits, memory = run(blocked)
    assert hits[-1].bar.blocked == "data_gap"
    done = judge(RULES, memory, of)
    assert [(hit.label, hit.bar.blocked) for hit in done.hits] == [("level_-200", None)]


@given(st.lists(st.tuples(st.floats(-450, 450), st.floats(-60, 60)), min_size=2, max_size=REMEMBERED), st.data())
def test_revising_any_bar_gives_what_a_clean_run_gives(pairs: list[tuple[float, float]], data: st.DataObject) -> None:
    of = bars(pairs)
    _, memory = run(of)
    at = data.draw(st.integers(0, len(of) - 1))
    pair = data.draw(st.tuples(st.floats(-450, 450), st.floats(-60, 60)))
    revised = [*of[:at], Bar(at * SLOT_MS, 1, *pair), *of[at + 1 :]]
    clean, after = run(revised)
    done = judge(RULES, memory, revised)
    assert done.memory == after
    assert list(done.hits) == [hit for hit in clean if hit.bar.open_ms >= at * SLOT_MS]


def test_an_identity_is_the_same_everywhere_and_another_for_another_bar() -> None:
    at = ("toy", "BTC-USDT", "5m", "level_-150")
    assert identity(*at, 0) == identity(*at, 0)
    assert len({identity(*at, 0), identity(*at, SLOT_MS), identity("toys", *at[1:], 0)}) == 3
