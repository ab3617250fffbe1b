"""The due index: claims are leases, and data that comes meanwhile keeps a bucket due."""

from __future__ import annotations

import time

import pytest

from candles import ledger
from candles.ledger import GRACE_MS, LEASE_MS, Bucket, Edge
from candles.slab import Slab
from livermore.core import keys

OPEN_MS = int(time.time()) // 300 * 300_000  # slabs expire on the wall clock
BUCKET = Bucket("BTC-USDT", OPEN_MS)
SLAB = Slab(1, [7], [1], [OPEN_MS * 1_000_000], ["1"], ["2"], [True])
END_MS = OPEN_MS + 300_000


@pytest.fixture(autouse=True)
def _redis(redis_state):
    """Every test here has an empty Redis."""


def store(now_ms: int, field: str = "c:0") -> None:
    ledger.store("x", field, {(BUCKET.symbol, OPEN_MS): SLAB}, now_ms)


def test_a_bucket_is_due_after_its_end_and_grace():
    store(OPEN_MS + 5)
    assert ledger.claim("x", END_MS + GRACE_MS - 1, 10) == []
    assert ledger.claim("x", END_MS + GRACE_MS, 10) == [BUCKET]


def test_a_claimed_bucket_is_nobody_elses_until_the_lease_runs_out():
    store(END_MS)
    now_ms = END_MS + GRACE_MS
    assert ledger.claim("x", now_ms, 10) == [BUCKET]
    assert ledger.claim("x", now_ms + LEASE_MS - 1, 10) == []
    assert ledger.claim("x", now_ms + LEASE_MS, 10) == [BUCKET]


def test_a_settled_bucket_is_gone():
    store(END_MS)
    now_ms = END_MS + GRACE_MS
    ledger.claim("x", now_ms, 10)
    assert ledger.settle("x", [BUCKET], ledger.lease(now_ms)) == 1
    assert ledger.claim("x", now_ms + 10 * LEASE_MS, 10) == []


def test_data_that_arrives_during_the_fold_makes_it_due_again():
    store(END_MS)
    now_ms = END_MS + GRACE_MS
    ledger.claim("x", now_ms, 10)
    store(now_ms + 5, "c:1")
    assert ledger.settle("x", [BUCKET], ledger.lease(now_ms)) == 0
    assert ledger.claim("x", now_ms + 5, 10) == [BUCKET]


def test_a_folder_whose_lease_ran_out_settles_nothing():
    store(END_MS)
    first = END_MS + GRACE_MS
    ledger.claim("x", first, 10)
    second = first + LEASE_MS
    ledger.claim("x", second, 10)
    assert ledger.settle("x", [BUCKET], ledger.lease(first)) == 0
    assert ledger.settle("x", [BUCKET], ledger.lease(second)) == 1


def test_marking_a_silent_bucket_does_not_disturb_one_that_is_due_or_leased():
    store(END_MS)
    now_ms = END_MS + GRACE_MS
    ledger.claim("x", now_ms, 10)
    ledger.mark("x", [BUCKET], now_ms=now_ms)
    assert ledger.claim("x", now_ms, 10) == []
    ledger.mark("x", [BUCKET], now_ms=now_ms, again=True)
    assert ledger.claim("x", now_ms, 10) == [BUCKET]


def test_slabs_are_read_back_by_field():
    store(END_MS)
    store(END_MS, "rest:1-2")
    assert ledger.slabs("x", [BUCKET, Bucket("NO-NE", OPEN_MS)]) == [{"c:0": SLAB, "rest:1-2": SLAB}, {}]


def test_borders_of_the_neighbours_are_found(redis_state):
    before, after = Bucket(BUCKET.symbol, OPEN_MS - 300_000), Bucket(BUCKET.symbol, END_MS)
    ledger.keep_edges("x", {before: Edge(1, 6, True), after: Edge(8, 9, False)})
    assert ledger.edges("x", [BUCKET]) == [(Edge(1, 6, True), Edge(8, 9, False))]
    assert redis_state.ttl(keys.edges("x", BUCKET.symbol)) > 0
