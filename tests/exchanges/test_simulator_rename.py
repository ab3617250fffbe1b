"""A simulated rebrand: the old market vanishes, the new one goes on at its price and has no past."""

from __future__ import annotations

import math

import pytest

from exchanges.simulation import scenario
from exchanges.simulation.listing import BUCKET_MS, Listing
from exchanges.simulation.market import Market
from exchanges.simulation.snapshot import restore, save
from exchanges.simulator import Simulation
from livermore.core.errors import InvalidInput

START_MS = 1_790_000_123_456
NOW_S = 700
HOUR_MS = 12 * BUCKET_MS


def market() -> Market:
    listings = [
        Listing(venue, f"{base}-USD", base, "USD", "0.01", "0.0001", per_s)
        for venue in ("first", "second")
        for base, per_s in (("ETH", 2.0), ("SOL", 1.0))
    ]
    return Market(listings, seed=5, start_ms=START_MS, leader="first")


@pytest.fixture
def renamed():
    m = market()
    m.advance(m.now_us + NOW_S * 1_000_000)
    m.rename("first", "ETH", "NEW")
    m.at_ms = m.now_us // 1000
    m.advance(m.now_us + NOW_S * 1_000_000)
    return m


def test_the_price_goes_on_under_the_new_name_and_the_old_one_is_silent(renamed):
    old, new = renamed.tape("first", "ETH-USD"), renamed.tape("first", "NEW-USD")
    assert old.prints[-1].time_us // 1000 <= renamed.at_ms <= new.prints[0].time_us // 1000
    assert abs(math.log(new.prints[0].price / old.prints[-1].price)) < 5e-4
    assert len(new.prints) > NOW_S
    assert (new.listing.symbol, new.listing.asset) == ("NEW-USD", "ETH")
    elsewhere = renamed.tape("second", "ETH-USD")
    assert abs(math.log(new.last_price / elsewhere.last_price)) < 0.01


def test_its_klines_begin_in_the_bucket_of_the_rename(renamed):
    tape, now_ms = renamed.tape("first", "NEW-USD"), renamed.now_us // 1000
    first_ms = renamed.at_ms // BUCKET_MS * BUCKET_MS
    bars = list(tape.bars(BUCKET_MS, first_ms - 100 * BUCKET_MS, now_ms, now_ms))
    assert bars[0].open_ms == first_ms
    assert all(bar.trades and bar.low > 0 for bar in bars)
    hours = list(tape.bars(HOUR_MS, first_ms - 100 * HOUR_MS, now_ms, now_ms))
    assert hours[0].open_ms == first_ms // HOUR_MS * HOUR_MS
    assert hours[0].volume == sum(b.volume for b in bars if b.open_ms < hours[0].open_ms + HOUR_MS)


def test_whoever_is_not_renamed_trades_as_ever(renamed):
    untouched = market()
    untouched.advance(renamed.now_us)
    for venue, native in (("first", "SOL-USD"), ("second", "ETH-USD"), ("second", "SOL-USD")):
        assert renamed.trades(venue, native) == untouched.trades(venue, native)


def test_a_move_reaches_it_by_its_new_name(renamed):
    before = renamed.tape("first", "NEW-USD").last_price
    renamed.has_episodes = False
    renamed.move("NEW", 500.0)
    renamed.advance(renamed.now_us + 10_000_000)
    assert renamed.tape("first", "NEW-USD").last_price / before == pytest.approx(1.05, abs=0.02)


def test_names_that_do_not_fit_are_refused(renamed):
    for base, to in (("ETH", "OTHER"), ("NONE", "OTHER"), ("SOL", "NEW"), ("SOL", "ETH")):
        with pytest.raises(InvalidInput, match="must list"):
            renamed.rename("first", base, to)


def test_a_renamed_market_put_aside_goes_on_renamed(renamed, tmp_path):
    save(renamed, file := tmp_path / "market")
    again = restore(file, market(), renamed.now_us // 1000)
    assert again is not None
    assert again.gone == {("first", "ETH-USD")}
    assert again.tape("first", "NEW-USD").last_price == renamed.tape("first", "NEW-USD").last_price


def test_a_scenario_renames_and_the_venue_lists_the_new_one_only():
    steps = [{"at_s": 1, "venue": "coinbase", "rename": {"base": "NMR", "to": "NMX"}}]
    simulation = Simulation(["coinbase"], scenario=steps, is_paused=True)
    stage = simulation.servers["coinbase"].stage
    assert stage.tape("NMR-USD") is not None
    simulation.advance(2.0)
    assert stage.tape("NMR-USD") is None
    assert stage.tape("NMX-USD") is not None
    assert {"NMX", "NMR"} & {x.base for x in stage.listings} == {"NMX"}


def test_a_venue_whose_symbols_are_ids_for_ever_refuses():
    simulation = Simulation(["kucoin"], is_paused=True)
    with pytest.raises(InvalidInput, match="keeps its symbols for ever"):
        simulation.rename("kucoin", "BSV", "NEW")


@pytest.mark.parametrize("told", [{"base": "NMR"}, {"base": "NMR", "to": 1}, {"base": "NMR", "as": "X"}, "NMR"])
def test_a_step_that_does_not_say_what_becomes_what_is_refused(told):
    with pytest.raises(InvalidInput, match="rename"):
        scenario.read([{"at_s": 1, "venue": "coinbase", "rename": told}])
