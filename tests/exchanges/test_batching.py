"""Batches leave by age, count or bytes, and their numbers have no holes."""

from __future__ import annotations

import pytest

from exchanges.batching import BUSY_FROM, MAX_AGE_NS, MAX_BYTES, MAX_FRAMES, OLDEST_NS, Ageing, Batcher

T0 = 1_770_000_000_000_000_000


@pytest.fixture
def batcher() -> Batcher:
    return Batcher("venue", "c1", epoch=3)


def test_nothing_collected_is_never_due(batcher):
    assert not batcher.is_due(T0 + 10 * MAX_AGE_NS)
    assert batcher.take() is None


def test_a_batch_is_due_by_age_of_its_oldest_frame(batcher):
    batcher.add([b"a"], T0)
    batcher.add([b"b"], T0 + MAX_AGE_NS - 1)
    assert not batcher.is_due(T0 + MAX_AGE_NS - 1)
    assert batcher.is_due(T0 + MAX_AGE_NS)


def test_a_batch_is_due_by_count_and_by_bytes(batcher):
    batcher.add([b"a"] * MAX_FRAMES, T0)
    assert batcher.is_due(T0)
    batcher.take()
    batcher.add([b"a" * MAX_BYTES], T0)
    assert batcher.is_due(T0)


def test_numbers_rise_without_holes_and_frames_keep_their_order(batcher):
    batcher.add([b"a", b"b"], T0)
    batcher.add([], T0 + 1)
    batcher.add([b"c"], T0 + 2)
    first = batcher.take()
    batcher.add([b"d"], T0 + 3)
    second = batcher.take()
    assert (first.number, second.number) == (0, 1)
    assert first.id == "c1:0"
    assert first.frames == (b"a", b"b", b"c")
    assert first.arrivals == ((2, T0), (1, T0 + 2))
    assert first.received_ns == T0 + 2
    assert first.epoch == 3


# ---- a broker that does not keep up ----------------------------------------------------------------


def test_batches_grow_older_while_several_wait_and_young_again_when_none_does():
    ageing = Ageing()
    for waiting in (0, 1, 2, 3):
        ageing.saw(waiting)
    assert ageing.age_ns == MAX_AGE_NS
    ages = []
    for _ in range(30):
        ageing.saw(BUSY_FROM + 1)
        ages.append(ageing.age_ns)
    assert ages == sorted(ages)
    assert ages[-1] == OLDEST_NS
    ageing.saw(2)
    assert ageing.age_ns == OLDEST_NS
    for _ in range(6):
        ageing.saw(1)
    assert ageing.age_ns == MAX_AGE_NS


def test_a_connection_makes_no_more_messages_than_a_far_broker_takes():
    """150 ms a message, frames all the time: simulated by the clock alone."""
    ageing, batcher = Ageing(), Batcher("venue", "c1", 1)
    round_trip_ns, waiting, free_ns, most = 150_000_000, 0, 0, 0
    for now_ns in range(0, 60_000_000_000, 10_000_000):
        batcher.add([b"x"], now_ns)
        if waiting and now_ns >= free_ns:
            waiting, free_ns = waiting - 1, now_ns + round_trip_ns
        if batcher.is_due(now_ns):
            batcher.take()
            waiting += 1
            ageing.saw(waiting)
            batcher.max_age_ns = ageing.age_ns
            most = max(most, waiting)
    assert most <= 2 * BUSY_FROM
    assert batcher.number > 60 * 4  # and none so old that a signal would not see it
