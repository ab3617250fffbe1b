"""The generated market: deterministic, consistent with itself, and lively in the way signals need."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from decimal import ROUND_DOWN, Decimal

import pytest

from exchanges.simulation.listing import BUCKET_MS, DAY_MS, Listing, fixed
from exchanges.simulation.market import Market, Produced, kline
from exchanges.simulation.snapshot import restore, save

START_MS = 1_790_000_123_456
LEADER, FOLLOWER = "first", "second"


def listings() -> list[Listing]:
    rows = [("BTC", "0.01", "0.00001", 4.0), ("ETH", "0.01", "0.0001", 2.0), ("PEPE", "0.00000001", "1", 1.0)]
    rows += [("NMR", "0.01", "0.01", 0.004)]
    leader = [Listing(LEADER, f"{b}-USD", b, "USD", t, q, n, time_step_us=1) for b, t, q, n in rows]
    follower = [Listing(FOLLOWER, f"{b}USDT", b, "USDT", t, q, n, bundled=0.3) for b, t, q, n in rows]
    return [*leader, *follower]


def market(seed: int = 5) -> Market:
    return Market(listings(), seed=seed, start_ms=START_MS, leader=LEADER)


def rows(produced: Produced) -> dict[str, list[tuple[object, ...]]]:
    by_listing = defaultdict(list)
    for tape, new in produced:
        by_listing[tape.listing.native].append(tuple(new))
    return by_listing


def test_the_same_seed_gives_the_same_trades_however_time_is_cut():
    whole, cut = market(), market()
    at_once = whole.advance(whole.now_us + 300_000_000)
    in_steps: Produced = []
    for _ in range(3_000):
        in_steps += cut.advance(cut.now_us + 100_000)
    assert rows(at_once) == rows(in_steps)
    assert whole.trades(LEADER, "BTC-USD") == cut.trades(LEADER, "BTC-USD")


def test_another_seed_gives_other_trades():
    assert market(5).trades(LEADER, "BTC-USD") != market(6).trades(LEADER, "BTC-USD")


def test_ids_are_consecutive_and_times_never_run_back():
    m = market()
    m.advance(m.now_us + 600_000_000)
    for listing in m.listings:
        prints = m.tape(listing.venue, listing.native).prints
        trades = m.trades(listing.venue, listing.native)
        assert [t.id for t in trades] == list(range(trades[0].id, trades[0].id + len(trades)))
        assert [p.id for p in prints] == list(range(prints[0].id, prints[0].id + len(prints)))
        assert all(a.time_us <= b.time_us for a, b in itertools.pairwise(prints))
        assert all(p.time_us % listing.time_step_us == 0 for p in prints)
    assert any(p.last > p.first for p in m.tape(FOLLOWER, "BTCUSDT").prints)
    assert all(p.last == p.first for p in m.tape(LEADER, "BTC-USD").prints)


def test_every_price_and_quantity_is_on_its_step():
    m = market()
    m.advance(m.now_us + 60_000_000)
    for listing in m.listings:
        for trade in m.trades(listing.venue, listing.native):
            assert Decimal(trade.price) > 0
            assert Decimal(trade.price) % Decimal(listing.tick) == 0
            assert Decimal(trade.quantity) >= Decimal(listing.lot)
            assert Decimal(trade.quantity) % Decimal(listing.lot) == 0


@pytest.mark.parametrize("listing", listings(), ids=lambda x: x.native)
def test_candles_are_the_fold_of_their_trades(listing: Listing):
    m = market()
    m.advance(m.now_us + 1_000_000_000)
    buckets = defaultdict(list)
    for trade in m.trades(listing.venue, listing.native):
        buckets[trade.time_ns // 1_000_000 // BUCKET_MS * BUCKET_MS].append(trade)
    cent = Decimal(1).scaleb(-listing.quote_places)
    for open_ms, trades in buckets.items():
        prices = [Decimal(t.price) for t in trades]
        truth = m.truth(listing.venue, listing.native, open_ms)
        assert (truth.open, truth.high, truth.low, truth.close) == (
            prices[0], max(prices), min(prices), prices[-1])  # fmt: skip
        assert truth.volume == sum(Decimal(t.quantity) for t in trades)
        assert truth.trades == len(trades)
        assert truth.taker_buy_volume == sum(Decimal(t.quantity) for t in trades if t.is_buy)
        assert truth.turnover == sum(
            (Decimal(t.price) * Decimal(t.quantity)).quantize(cent, ROUND_DOWN) for t in trades
        )


def test_two_whole_buckets_before_the_start_have_trades():
    m = market()
    first_ms = START_MS // BUCKET_MS * BUCKET_MS - 2 * BUCKET_MS
    assert m.origin_ms == first_ms
    assert m.trades(LEADER, "BTC-USD")[0].time_ns // 1_000_000 - first_ms < 10_000


@pytest.mark.parametrize("minutes", [5, 15, 30, 60, 240, 1440])
def test_four_hundred_candles_join_the_live_price_without_a_jump(minutes: int):
    m = market()
    length_ms = minutes * 60_000
    now_ms = m.now_us // 1000
    for native, venue in (("BTC-USD", LEADER), ("BTCUSDT", FOLLOWER)):
        tape = m.tape(venue, native)
        bars = list(tape.bars(length_ms, now_ms - 420 * length_ms, now_ms, now_ms))
        assert len(bars) >= 400
        assert [b.open_ms for b in bars] == list(range(bars[0].open_ms, now_ms, length_ms))
        for before, after in itertools.pairwise(bars):
            assert abs(math.log(after.open / before.close)) < 5e-4
            assert after.low <= min(after.open, after.close) <= max(after.open, after.close) <= after.high
            assert after.volume > 0
            assert 0 <= after.buy_volume <= after.volume


@pytest.mark.parametrize("minutes", [15, 30, 60, 240, 1440])
def test_larger_candles_are_the_fold_of_the_smaller_ones(minutes: int):
    m = market()
    m.advance(m.now_us + 700_000_000)
    length_ms, now_ms = minutes * 60_000, m.now_us // 1000
    tape = m.tape(LEADER, "ETH-USD")
    for bar in list(tape.bars(length_ms, now_ms - 3 * DAY_MS, now_ms, now_ms)):
        parts = list(tape.bars(BUCKET_MS, bar.open_ms, bar.open_ms + length_ms - 1, now_ms))
        assert (bar.open, bar.close) == (parts[0].open, parts[-1].close)
        assert (bar.high, bar.low) == (max(b.high for b in parts), min(b.low for b in parts))
        assert bar.volume == sum(b.volume for b in parts)
        assert bar.buy_volume == sum(b.buy_volume for b in parts)
        assert bar.trades == sum(b.trades for b in parts)


def test_an_idle_bucket_is_flat_at_the_close_before():
    m = market()
    m.advance(m.now_us + 3_600_000_000)
    tape = m.tape(LEADER, "NMR-USD")
    bars = list(tape.bars(BUCKET_MS, m.origin_ms, m.now_us // 1000, m.now_us // 1000))
    idle = [(a, b) for a, b in itertools.pairwise(bars) if not b.trades]
    assert idle
    for before, bar in idle:
        assert bar.open == bar.high == bar.low == bar.close == before.close
        assert kline(tape.listing, bar).volume == 0


def test_old_trades_are_forgotten_and_their_candles_stay():
    m = market()
    m.advance(m.now_us + 600_000_000)
    early = m.truth(LEADER, "BTC-USD", m.origin_ms)
    m.advance(m.now_us + 3 * 3_600_000_000)
    tape = m.tape(LEADER, "BTC-USD")
    assert tape.prints[0].time_us > m.now_us - 8_000_000_000
    assert m.truth(LEADER, "BTC-USD", m.origin_ms) == early


def average_range_bps(m: Market, venue: str, native: str) -> float:
    now_ms = m.now_us // 1000
    bars = list(m.tape(venue, native).bars(BUCKET_MS, now_ms - 28 * BUCKET_MS, now_ms, now_ms))[:-1]
    pairs = list(itertools.pairwise(bars))[-26:]
    ranges = [max(b.high, a.close) - min(b.low, a.close) for a, b in pairs]
    return 1e4 * sum(ranges) / len(ranges) / bars[-1].close


def test_the_average_range_of_five_minutes_is_that_of_a_calm_day():
    found = [average_range_bps(market(seed), LEADER, "BTC-USD") for seed in range(8)]
    assert 15 <= sum(found) / len(found) <= 25, found


def last_price(m: Market, venue: str, native: str, time_us: int) -> tuple[float, int]:
    tape = m.tape(venue, native)
    p = tape.prints[tape.at_time(time_us + 1) - 1]
    return p.price / 10**tape.listing.price_places, time_us - p.time_us


def test_the_leader_jumps_and_the_follower_comes_later():
    m = market()
    start_us = m.start_us
    m.advance(start_us + 70_000_000)
    moves = {}
    for at_s in range(20, 66):
        for venue, native in ((LEADER, "BTC-USD"), (FOLLOWER, "BTCUSDT")):
            now, age_us = last_price(m, venue, native, start_us + at_s * 1_000_000)
            then, _ = last_price(m, venue, native, start_us + (at_s - 15) * 1_000_000)
            moves[venue, at_s] = 1e4 * math.log(now / then), age_us
    atr_bps = average_range_bps(m, LEADER, "BTC-USD")
    sigma = atr_bps * math.sqrt(15 / 300)
    opened = [
        at_s
        for at_s in range(20, 66)
        if abs(lead := moves[LEADER, at_s][0]) >= max(10, 2 * sigma)
        and moves[LEADER, at_s][1] < 2_000_000
        and (follow := moves[FOLLOWER, at_s][0]) / lead <= 0.5
        and abs(lead) - math.copysign(1, lead) * follow >= 10
    ]
    assert opened, "a signal must open"
    assert 22 <= opened[0] <= 32
    assert len(opened) >= 8, "and hold for several evaluations"
    peak = max(abs(moves[LEADER, s][0]) for s in range(25, 35))
    assert 35 <= peak <= 85
    late = max(range(36, 56), key=lambda s: abs(moves[FOLLOWER, s][0]))
    assert abs(moves[FOLLOWER, late][0]) > 30


def test_the_jump_is_made_by_several_large_trades():
    m = market()
    m.advance(m.start_us + 40_000_000)
    tape = m.tape(LEADER, "BTC-USD")
    first, past = tape.at_time(m.start_us + 25_000_000), tape.at_time(m.start_us + 29_500_000)
    worth = [p.price * p.quantity / 10 ** (2 + 5) for p in tape.prints[first:past]]
    assert sum(w > 2_000 for w in worth) >= 5


def test_a_scripted_move_reaches_each_venue_after_its_lag():
    m = market()
    m.has_episodes = False
    at_us = m.now_us + 10_000_000
    m.move("PEPE", 2_000.0, at_us=at_us, over_s=2.0, lags_s={LEADER: 0.0, FOLLOWER: 20.0})
    m.advance(at_us + 15_000_000)
    leader, _ = last_price(m, LEADER, "PEPE-USD", m.now_us)
    follower, _ = last_price(m, FOLLOWER, "PEPEUSDT", m.now_us)
    assert leader / follower > 1.1
    m.advance(at_us + 30_000_000)
    follower, _ = last_price(m, FOLLOWER, "PEPEUSDT", m.now_us)
    assert leader / follower == pytest.approx(1.0, abs=0.03)


def test_a_silenced_market_does_not_trade_and_then_goes_on():
    m = market()
    m.silence(FOLLOWER, "BTC", 60.0)
    tape = m.tape(FOLLOWER, "BTCUSDT")
    count = tape.next_id
    m.advance(m.now_us + 59_000_000)
    assert tape.next_id == count
    m.advance(m.now_us + 20_000_000)
    assert tape.next_id > count


def test_a_burst_makes_exactly_as_many_prints_more():
    usual, busy = market(), market()
    start_us = usual.now_us
    fewer = usual.advance(start_us + 600_000_000)
    more = busy.burst(6_000, 600_000_000)
    assert len(more) == len(fewer) + 6_000
    assert busy.now_us == usual.now_us
    for listing in busy.listings:
        prints = busy.tape(listing.venue, listing.native).prints
        assert all(a.time_us <= b.time_us for a, b in itertools.pairwise(prints))


def test_a_market_put_aside_goes_on_where_it_stood(tmp_path):
    file = tmp_path / "var" / "market"
    before = market()
    before.advance(before.now_us + 100_000_000)
    save(before, file)
    later_ms = before.now_us // 1000 + 1_800_000
    after = restore(file, market(), later_ms)
    assert after is not None
    assert after.now_us == after.start_us == later_ms * 1000
    known = before.trades(LEADER, "BTC-USD")
    assert after.trades(LEADER, "BTC-USD")[: len(known)] == known
    assert after.tape(LEADER, "BTC-USD").next_id > known[-1].id + 1_000
    before.has_episodes = False
    before.advance(after.now_us)
    assert before.trades(FOLLOWER, "ETHUSDT") == after.trades(FOLLOWER, "ETHUSDT")


def test_another_market_or_a_long_absence_begins_anew(tmp_path):
    file = tmp_path / "market"
    kept = market(5)
    save(kept, file)
    now_ms = kept.now_us // 1000
    assert restore(file, market(6), now_ms) is None
    assert restore(file, market(5), now_ms + 3 * 3_600_000) is None
    assert restore(file, market(5), now_ms - 1) is None
    assert restore(tmp_path / "none", market(5), now_ms) is None
    file.write_bytes(b"no pickle")
    assert restore(file, market(5), now_ms) is None


def test_a_market_begun_later_has_later_ids():
    early = market()
    late = Market(listings(), seed=5, start_ms=START_MS + 3_600_000, leader=LEADER)
    early.advance(early.now_us + 1_800_000_000)
    for x in early.listings:
        assert late.tape(x.venue, x.native).prints[0].first > early.tape(x.venue, x.native).next_id
        assert late.tape(x.venue, x.native).prints[0].id > early.tape(x.venue, x.native).next_print


def test_whole_units_are_written_as_decimals():
    assert fixed(123, 8) == "0.00000123"
    assert fixed(6_400_010, 2, 8) == "64000.10000000"
    assert fixed(7, 0) == "7"
