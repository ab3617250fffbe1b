"""Batches leave by age, count or bytes, and their numbers have no holes."""

from __future__ import annotations

import pytest

from exchanges.batching import MAX_AGE_NS, MAX_BYTES, MAX_FRAMES, Batcher

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
