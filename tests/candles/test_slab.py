"""Slabs keep every trade; a column that holds nonsense is refused."""

from __future__ import annotations

from decimal import Decimal

import pytest

from candles.slab import decode, encode, group, identities, numbers
from livermore.core.errors import FrameRejected
from livermore.core.trade import Trade

NS = 1_770_000_000_000_000_000


def trades(count: int) -> list[Trade]:
    return [Trade("A-B", NS + i, i, 1, f"64000.{i:05d}000", f"0.{i + 1:08d}", i % 2 == 0) for i in range(count)]


@pytest.mark.parametrize("count", [1, 3, 500])
def test_what_is_stored_is_read_back_and_the_bytes_repeat(count):
    (slab,) = group(trades(count), NS).values()
    stored = encode(slab)
    assert decode(stored) == slab
    assert encode(slab) == stored


def test_a_large_slab_takes_less_than_thirty_bytes_a_trade():
    (slab,) = group(trades(500), NS).values()
    assert len(encode(slab)) / 500 < 30


@pytest.mark.parametrize(
    "bad",
    ["0", "-1", "NaN", "sNaN", "Infinity", "", "abc", "1e400", "1e24", "1e-19", "1_000", " 1", "١", "1,5", "0x10"],
)
def test_a_column_with_nonsense_is_refused(bad):
    with pytest.raises(FrameRejected):
        numbers(["64000.1", bad, "1"])
    with pytest.raises(FrameRejected):
        numbers([bad])


def test_good_columns_are_read_exactly():
    assert numbers(["0.00000000123", "1000000000000000"]) == [Decimal("0.00000000123"), Decimal("1e15")]


def test_identity_is_the_id_or_the_place_in_the_batch():
    (with_ids,) = group(trades(2), NS).values()
    assert identities("c:1", with_ids) == [0, 1]
    (without,) = group([t._replace(id="") for t in trades(2)], NS).values()
    assert identities("c:1", without) == [("c:1", 0), ("c:1", 1)]
