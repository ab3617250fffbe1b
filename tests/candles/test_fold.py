"""The fold laws: the candle depends on the set of trades and on nothing else."""

from __future__ import annotations

import random
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candles.fold import fold, widen
from candles.slab import decode, encode, group
from livermore.core.candle import BUCKET_NS, Candle, Quality, Reason, Source, Timeframe
from livermore.core.trade import Trade

OPEN_NS = 1_700_000_100_000 * 1_000_000
OPEN_MS = OPEN_NS // 1_000_000


def trade(offset_ms: int, trade_id: int | str, price: str, quantity: str, is_buy: bool = True, n: int = 1) -> Trade:
    return Trade("BTC-USDT", OPEN_NS + offset_ms * 1_000_000, trade_id, n, price, quantity, is_buy)


def slabs(batches, prefix="c:"):
    out = {}
    for number, trades in enumerate(batches):
        for slab in group(trades, 0).values():
            out[f"{prefix}{number}"] = decode(encode(slab))
    return out


GOLDEN = [
    trade(1, 11, "100.10", "1.5"),
    trade(1, 12, "100.00", "2"),
    trade(150_000, 13, "99.50", "0.25"),
    trade(299_999, 14, "101.00", "1"),
    trade(299_999, 15, "100.75", "3", is_buy=False),
]


def test_the_golden_merge_of_indicators_3_7():
    folded = fold(slabs([GOLDEN]))
    assert (folded.open, folded.high, folded.low, folded.close) == tuple(
        map(Decimal, ("100.10", "101.00", "99.50", "100.75"))
    )
    assert folded.volume == Decimal("7.75")
    assert folded.turnover == Decimal("778.2750")
    assert folded.trades == 5
    assert folded.taker_buy_volume == Decimal("4.75")
    assert folded.is_unbroken
    assert (folded.first_id, folded.last_id) == (11, 15)


amounts = st.decimals(min_value="0.00000000000000001", max_value="1e15", allow_nan=False, places=17).map(str)


@st.composite
def trade_sets(draw):
    count = draw(st.integers(1, 30))
    kind = draw(st.sampled_from(["number", "text"]))
    return [
        trade(draw(st.integers(0, 299_999)), 100 + i if kind == "number" else f"x{i}", draw(amounts), draw(amounts),
              draw(st.booleans()))
        for i in range(count)
    ]


@settings(max_examples=200)
@given(trade_sets(), st.randoms(use_true_random=False))
def test_any_permutation_duplication_and_split_gives_the_identical_candle(trades, rng: random.Random):
    whole = fold(slabs([trades]))
    shuffled = trades + rng.choices(trades, k=rng.randint(0, len(trades)))
    if isinstance(trades[0].id, int):
        rng.shuffle(shuffled)  # text says nothing of order: there the venue's own sequence of frames does
    batches, at = [], 0
    while at < len(shuffled):
        step = rng.randint(1, 7)
        batches.append(shuffled[at : at + step])
        at += step
    stored = list(slabs(batches).items())
    rng.shuffle(stored)
    found = fold(dict(stored))
    assert replace(found, repeated=0) == whole
    assert found.repeated == len(shuffled) - len(trades)


def test_what_rest_brings_again_is_no_repetition_of_the_stream():
    once = [[trade(0, 1, "100", "1", n=3)]]
    assert fold(slabs(once) | slabs(once, "rest:")).repeated == 0
    assert fold(slabs(once * 3)).repeated == 6


def test_of_simultaneous_trades_with_text_ids_the_batches_numbers_tell_the_first_and_the_last():
    """MEXC's ids are text, and a sweep of its book is many trades of one millisecond."""
    batches = [[trade(5, "zz", "3", "1"), trade(5, "aa", "1", "1")], [trade(5, "mm", "2", "1")]]
    stored = {f"c:{number + 9}": one for number, one in enumerate(slabs(batches).values())}  # 9 before 10
    folded = fold(dict(reversed(stored.items())))
    assert (folded.open, folded.close) == (3, 2)
    again = fold({**stored, "c:11": next(iter(slabs([[trade(5, "zz", "3", "1")]]).values()))})
    assert (again.open, again.close, again.trades) == (3, 2, 3)


def test_trades_without_ids_are_told_apart_by_their_place_in_the_batch():
    same = trade(5, "", "1", "2")
    assert fold(slabs([[same, same], [same]])).volume == 6
    once = slabs([[same, same]])
    assert fold({**once, **once}).volume == 4


def test_a_micro_price_and_a_huge_quantity_stay_exact():
    folded = fold(slabs([[trade(0, 1, "0.00000000123", "1000000000000000"), trade(1, 2, "0.00000000124", "1e-18")]]))
    assert folded.low == Decimal("0.00000000123")
    assert folded.volume == Decimal("1000000000000000.000000000000000001")
    assert folded.turnover == Decimal("1230000.00000000000000000000000000124")


def test_rest_wins_where_two_versions_of_a_trade_differ_and_it_is_counted():
    streamed, fetched = trade(0, 1, "100", "1"), trade(0, 1, "101", "1")
    for order in (1, -1):
        both = list((slabs([[streamed]]) | slabs([[fetched]], "rest:")).items())[::order]
        folded = fold(dict(both))
        assert folded.close == 101
        assert folded.conflicts == 1
        assert folded.confirmed == 1


def test_bundled_executions_count_and_chain():
    folded = fold(slabs([[trade(0, 10, "1", "1", n=3), trade(1, 13, "1", "1")]]))
    assert folded.trades == 4
    assert folded.is_unbroken
    assert not fold(slabs([[trade(0, 10, "1", "1", n=3), trade(1, 14, "1", "1")]])).is_unbroken


def test_turnover_is_cut_per_trade_as_binance_does():
    folded = fold(slabs([[trade(0, 1, "0.001316244", "1")] * 1]), turnover_step=Decimal("1e-8"))
    assert folded.turnover == Decimal("0.00131624")


def test_no_trades_fold_to_nothing():
    assert fold({}) is None


def test_trades_of_two_buckets_are_grouped_by_trade_time():
    early, late = trade(299_999, 1, "1", "1"), trade(300_000, 2, "2", "1")
    assert {key[1] for key in group([late, early], 0)} == {OPEN_MS, OPEN_MS + BUCKET_NS // 1_000_000}


def child(index: int, **changes) -> Candle:
    base = Candle("x", "BTC-USDT", Timeframe.M5, 1_769_999_400_000 + 300_000 * index, Decimal(10), Decimal(12),
                  Decimal(9), Decimal(11), Decimal(2), Decimal(20), Decimal(1), 5, quality=Quality.PROVEN)
    return replace(base, **changes)


def test_a_larger_candle_is_first_open_last_close_and_sums_of_sums():
    parts = [child(0), child(1, close=Decimal("9.5"), high=Decimal(20)), child(2, open=Decimal("9.5"))]
    whole = widen(parts, Timeframe.M15)
    assert (whole.open, whole.high, whole.low, whole.close) == (10, 20, 9, 11)
    assert (whole.volume, whole.turnover, whole.trades, whole.taker_buy_volume) == (6, 60, 15, 3)
    assert whole.quality is Quality.PROVEN
    assert whole.source is Source.TRADES


def test_a_quiet_first_child_does_not_become_the_open():
    flat = {k: Decimal(50) for k in ("open", "high", "low", "close")}
    quiet = child(0, **flat, volume=Decimal(0), trades=0, reason=Reason.NO_TRADES, quality=Quality.EMPTY)
    whole = widen([quiet, child(1), child(2)], Timeframe.M15)
    assert (whole.open, whole.high) == (10, 12)
    assert not whole.is_synthetic
    assert whole.quality is Quality.PROVEN


def test_an_unknown_sum_stays_unknown_and_the_worst_child_decides_the_quality():
    whole = widen([child(0), child(1, turnover=None, quality=Quality.GAPPED), child(2)], Timeframe.M15)
    assert whole.turnover is None
    assert whole.quality is Quality.GAPPED


@pytest.mark.parametrize("reason", list(Reason))
def test_only_flat_children_make_a_flat_whole_with_the_graver_reason(reason):
    flat = dict.fromkeys(("open", "high", "low", "close"), Decimal(5))
    parts = [child(i, **flat, reason=Reason.NO_TRADES, quality=Quality.EMPTY) for i in range(2)]
    parts.append(child(2, **flat, reason=reason, quality=Quality.EMPTY))
    assert widen(parts, Timeframe.M15).reason is reason
