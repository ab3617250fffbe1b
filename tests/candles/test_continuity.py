"""A frame that never came is a gap with its ids within a second; what comes later or by another way is none."""

from __future__ import annotations

import time

import pytest

from candles.models import Gap as GapRow
from candles.services import arrivals, continuity, ingest, repair
from exchanges import wire
from livermore.core.frame import FrameBatch
from livermore.core.gap import Cause, Gap
from symbols.models import ExchangeSymbol
from tests.support.simulation import simulated
from tests.support.streaming import streamed
from tests.support.trades import Made
from tests.support.waiting import until

pytestmark = pytest.mark.django_db
NOW_MS = int(time.time() * 1000)


@pytest.fixture(autouse=True)
def _clean(redis_state, monkeypatch):
    for memory in (arrivals._newest, arrivals._epochs, ingest._books, ingest._previews, continuity._watched):
        memory.clear()
    monkeypatch.setattr(continuity, "PATIENCE_S", 0.0)
    ExchangeSymbol(exchange_id="binance", native="BTCUSDT", base="BTC", quote="USDT", tier=1).save()


def arrive(number: int, *ids: int, connection: str = "c") -> list[Gap]:
    frames = tuple(Made("BTCUSDT", i, NOW_MS + i, "64000.1", "1", True).frame() for i in ids)
    batch = FrameBatch("binance", connection, number, 1, frames, ((len(frames), NOW_MS * 1_000_000),))
    return ingest.ingest(wire.pack(batch)).gaps


def test_a_jump_between_two_batches_is_a_gap_with_its_ids_and_times():
    assert arrive(0, 1, 2) == []
    [gap] = arrive(1, 6, 7)
    assert (gap.exchange, gap.cause, gap.symbols, gap.connection) == ("binance", Cause.IDS, ("BTC-USDT",), "ids 3-5")
    assert (gap.from_ns, gap.to_ns) == ((NOW_MS + 2) * 1_000_000, (NOW_MS + 6) * 1_000_000 + 1)
    assert arrive(2, 8) == [], "told once"


def test_jumps_within_a_batch_are_gaps_too():
    assert [gap.connection for gap in arrive(0, 1, 2, 4, 8)] == ["ids 3-3", "ids 5-7"]


def test_a_suspicion_waits_for_its_time(monkeypatch):
    monkeypatch.setattr(continuity, "PATIENCE_S", 0.2)
    began_s = time.monotonic()
    assert arrive(0, 1, 3) == []
    number = 3
    while not (gaps := arrive(number - 2, number + 1)):
        number += 1
    assert time.monotonic() - began_s >= 0.2
    assert [gap.connection for gap in gaps] == ["ids 2-2"]


def test_what_another_connection_brings_is_not_missing(monkeypatch):
    """A connection and its successor run side by side, and each may be the first."""
    monkeypatch.setattr(continuity, "PATIENCE_S", 0.05)
    assert arrive(0, 1, 2) == []
    assert arrive(1, 5, 6) == []
    assert arrive(0, 3, 4, 5, connection="successor") == []
    time.sleep(0.06)
    assert arrive(2, 7) == []
    assert continuity._watched["binance"]._suspected == []


def test_what_only_part_of_comes_otherwise_is_missing_in_the_rest(monkeypatch):
    monkeypatch.setattr(continuity, "PATIENCE_S", 0.05)
    arrive(0, 1)
    arrive(1, 9)
    arrive(0, 4, 5, connection="successor")
    time.sleep(0.06)
    assert [gap.connection for gap in arrive(2, 10)] == ["ids 2-3", "ids 6-8"]


def test_batches_that_come_again_or_late_are_no_jump():
    for number, ids in ((0, (1, 2)), (1, (3,)), (0, (1, 2)), (1, (3,)), (2, (4,))):
        assert arrive(number, *ids) == []


def test_a_worker_that_did_not_see_the_batch_before_leaves_it_to_the_audit():
    arrive(0, 1, 2)
    assert arrive(2, 9, 10) == []
    assert [gap.connection for gap in arrive(3, 13)] == ["ids 11-12"]


def test_an_absurd_id_neither_opens_a_gap_nor_blinds_for_what_follows():
    arrive(0, 1, 2)
    assert arrive(1, 10**12, 10**12 + 1) == []
    assert arrive(2, 3, 4) == []
    assert [gap.connection for gap in arrive(3, 6)] == ["ids 5-5"]


def test_an_aggregate_counts_as_all_its_executions():
    frame = Made("BTCUSDT", 1, NOW_MS, "64000.1", "1", True).frame()
    whole = frame.replace(b'"l":1', b'"l":4')
    assert whole != frame
    later = Made("BTCUSDT", 5, NOW_MS + 5, "64000.1", "1", True).frame()
    for number, each in enumerate((whole, later)):
        batch = FrameBatch("binance", "c", number, 1, (each,), ((1, NOW_MS * 1_000_000),))
        assert ingest.ingest(wire.pack(batch)).gaps == []


def test_ids_too_long_for_their_column_are_told_by_first_and_count():
    assert continuity._named(10**18, 10**18 + 5) == "ids 1000000000000000000+5"


def test_one_frame_that_never_came_is_told_within_a_second_and_closed_by_proof(monkeypatch, settings):
    """S12 at Binance, from its simulator to the row."""
    monkeypatch.setattr(continuity, "PATIENCE_S", 0.6)
    with simulated("binance", pace=20) as sim, streamed(sim, "binance", ["BTCUSDT"]) as run:
        settings.EXCHANGE_ENDPOINTS = sim.endpoints
        run.until_state("streaming")
        run.until_caught_up()
        taken = 0
        found: list[Gap] = []

        def ingested() -> int:
            nonlocal taken
            batches = run.batches[taken:]
            taken += len(batches)
            found.extend(gap for batch in batches for gap in ingest.ingest(wire.pack(batch)).gaps)
            return taken

        until(lambda: ingested() > 3)
        sim.fault("binance", "drop", count=1)
        before = len(run.missing())
        until(lambda: ingested() and len(run.missing()) > before)
        missed_s = time.monotonic()
        until(lambda: ingested() and found, within_s=30)
        print(f"told {time.monotonic() - missed_s:.2f} s after its successor had come")
        [gap] = found
        ids = [number for _, number, _ in run.missing()]
        assert gap.connection == f"ids {ids[0]}-{ids[-1]}"
        [wanted] = repair.note(gap)
        until(lambda: time.time() * 1000 > wanted.ready_ms)
        assert repair.repair(wanted) is None
        row = GapRow.objects.get()
        assert (row.cause, row.method) == ("ids", "trades")
        assert "by REST" in row.proof
