"""A lone far price is doubted, a move is believed, and arrival decides nothing."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest

from candles.fold import fold_believed
from candles.outlier import doubtful
from candles.slab import group
from livermore.core.trade import Trade

REFERENCE = Decimal(100)
OPEN_NS = 1_700_000_100_000 * 1_000_000


def found(prices, reference=REFERENCE, confirmed=()):
    return doubtful([Decimal(p) for p in prices], [i in confirmed for i in range(len(prices))], reference)


@pytest.mark.parametrize(
    ("prices", "doubted"),
    [
        ([100, 101, 99], set()),
        ([100, 1000, 101], {1}),
        ([100, 10, 101], {1}),
        ([1000, 100, 101], {0}),
        ([100, 101, 1000], {2}),
        ([100, 125, 126, 127], set()),  # a real move is believed from its first trade on
        ([125, 126, 100], set()),
        ([125], {0}),  # alone: the venue is asked
        ([100, 1000, 10, 100], {1, 2}),
        ([100, 120, 96], set()),
    ],
)
def test_prices_are_judged_by_their_neighbours(prices, doubted):
    assert found(prices) == doubted


def test_without_a_price_before_the_median_stands_in():
    assert found([1000, 100, 101, 102], reference=None) == {0}
    assert found([1000], reference=None) == set()


def test_what_rest_confirmed_is_never_doubted():
    assert found([100, 1000, 101], confirmed={1}) == set()


def trade(number: int, price: str) -> Trade:
    return Trade("A-B", OPEN_NS + number, number, 1, price, "1", True)


def test_the_fold_leaves_doubted_trades_out_whatever_the_order_of_arrival():
    trades = [trade(i, str(100 + i)) for i in range(10)] + [trade(10, "5000"), trade(11, "111"), trade(12, "112")]
    results = set()
    for seed in range(20):
        shuffled = trades[:]
        random.Random(seed).shuffle(shuffled)
        slabs = {f"c:{i}": slab for i, t in enumerate(shuffled) for slab in group([t], 0).values()}
        folded, doubted = fold_believed(slabs, REFERENCE)
        results.add((folded.high, folded.trades, doubted))
    assert results == {(Decimal(112), 12, 1)}


def test_a_bucket_of_nothing_but_doubt_folds_to_nothing():
    (slab,) = group([trade(1, "1000")], 0).values()
    assert fold_believed({"c:0": slab}, REFERENCE) == (None, 1)
    folded, doubted = fold_believed({"rest:1-2": slab}, REFERENCE)
    assert (folded.close, doubted) == (1000, 0)
