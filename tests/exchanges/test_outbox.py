"""Batches wait for the broker in order and within bounds; whoever reads a socket never waits."""

from __future__ import annotations

import itertools
import threading
import time

import pytest

from exchanges.outbox import TRIES, Outbox
from livermore.core.errors import StoreUnavailable
from livermore.core.frame import FrameBatch
from livermore.core.gap import Cause
from tests.support.simulation import simulated
from tests.support.streaming import streamed
from tests.support.waiting import until

COM = "binance"
SECOND = 1_000_000_000


def batch(number: int, size: int = 10) -> FrameBatch:
    return FrameBatch("venue", "c1", number, 1, (b"x" * size,), ((1, number + 1),))


class Broker:
    """Takes batches while `is_here`; remembers what it took and how often it was asked."""

    def __init__(self, *, is_here: bool = True) -> None:
        self.is_here = is_here
        self.asked = 0
        self.taken: list[int] = []

    def __call__(self, offered: FrameBatch) -> None:
        self.asked += 1
        if not self.is_here:
            raise StoreUnavailable("away")
        self.taken.append(offered.number)


# ---- alone -----------------------------------------------------------------------------------------


def test_what_was_put_is_published_in_order_and_drained():
    broker = Broker()
    outbox = Outbox(broker, pytest.fail)
    for number in range(100):
        outbox.put(batch(number))
    assert len(outbox) == 100
    outbox.start()
    assert outbox.drain(5.0)
    assert broker.taken == list(range(100))
    assert (outbox.published, outbox.failures, len(outbox)) == (100, 0, 0)


def test_a_broker_that_is_away_gets_everything_in_order_when_it_is_back():
    broker = Broker(is_here=False)
    outbox = Outbox(broker, pytest.fail)
    outbox.start()
    outbox.put(batch(0))
    until(lambda: outbox.failures >= 2)
    for number in range(1, 50):
        outbox.put(batch(number))
    assert len(outbox) == 50, "the one in hand is not yet published"
    broker.is_here = True
    assert outbox.drain(5.0)
    assert broker.taken == list(range(50))


def test_more_batches_do_not_mean_more_tries():
    broker = Broker(is_here=False)
    outbox = Outbox(broker, pytest.fail)
    outbox.start()
    deadline = time.monotonic() + 1.0
    number = 0
    while time.monotonic() < deadline:
        outbox.put(batch(number))
        number += 1
        time.sleep(0.002)
    assert 2 <= broker.asked <= 5
    assert not outbox.drain(0.1)


def test_the_end_tries_again_until_its_time_is_up():
    broker = Broker(is_here=False)
    outbox = Outbox(broker, pytest.fail)
    outbox.start()
    outbox.put(batch(0))
    until(lambda: broker.asked >= 2)
    threading.Timer(0.3, setattr, (broker, "is_here", True)).start()
    assert outbox.drain(10.0)
    assert broker.taken == [0]


def test_an_end_without_a_broker_says_that_something_is_left():
    outbox = Outbox(Broker(is_here=False), pytest.fail)
    outbox.start()
    outbox.put(batch(0))
    began_s = time.monotonic()
    assert not outbox.drain(0.5)
    assert time.monotonic() - began_s < 6.0
    assert len(outbox) == 1
    until(lambda: not outbox._thread.is_alive(), within_s=8)


def test_a_publish_that_hangs_counts_as_left():
    gate = threading.Event()
    outbox = Outbox(lambda offered: gate.wait(10) and None, pytest.fail)
    outbox.start()
    outbox.put(batch(0))
    assert not outbox.drain(0.2)
    gate.set()
    until(lambda: len(outbox) == 0)


def test_beyond_its_bound_the_oldest_is_shed():
    shed: list[int] = []
    outbox = Outbox(Broker(), lambda lost: shed.append(lost.number), max_bytes=100)
    for number in range(15):
        outbox.put(batch(number, size=10))
    assert shed == [0, 1, 2, 3, 4]
    outbox.start()
    assert outbox.drain(5.0)


def test_a_batch_above_the_bound_alone_is_kept():
    broker = Broker()
    outbox = Outbox(broker, pytest.fail, max_bytes=100)
    outbox.put(batch(0, size=1000))
    outbox.start()
    assert outbox.drain(5.0)
    assert broker.taken == [0]


def test_a_batch_that_cannot_be_published_is_shed_and_the_rest_goes_on(monkeypatch):
    monkeypatch.setattr("exchanges.outbox.BACKOFF_CAP_S", 0.01)
    tried, taken, shed = [], [], []

    def publish(offered: FrameBatch) -> None:
        tried.append(offered.number)
        if offered.number == 1:
            raise ValueError("cannot be packed")
        taken.append(offered.number)

    outbox = Outbox(publish, lambda lost: shed.append(lost.number))
    outbox.start()
    for number in range(3):
        outbox.put(batch(number))
    assert outbox.drain(5.0)
    assert (taken, shed) == ([0, 2], [1])
    assert tried.count(1) == TRIES


# ---- in a stream -----------------------------------------------------------------------------------


def test_batches_are_kept_in_order_while_the_broker_is_away():
    with simulated(COM, pace=3) as sim, streamed(sim, COM) as run:
        run.until_state("streaming")
        run.until_caught_up()
        count = len(run.batches)
        run.broker = broker = Broker(is_here=False)
        until(lambda: run.stream.snapshot().spooled >= 10)
        assert run.state == "streaming"
        assert broker.asked < 8, "more batches do not mean more tries"
        broker.is_here = True
        until(lambda: run.stream.snapshot().spooled <= 1)
        until(lambda: len(run.batches) > count + 10)
        run.until_caught_up()
        assert run.missing() == []
        assert {g.cause for g in run.gaps} == {Cause.START}


def test_a_reader_never_waits_for_the_broker():
    with simulated(COM, pace=3) as sim, streamed(sim, COM) as run:
        run.until_state("streaming")
        gate = threading.Event()
        run.broker = lambda batch: gate.wait(30)
        until(lambda: run.stream.snapshot().spooled)
        before = run.stream.snapshot().frames
        run.burst(20_000)
        until(lambda: run.stream.snapshot().frames >= before + 20_000, within_s=20)
        gate.set()
        run.until_caught_up()
        assert run.missing() == []


def test_what_does_not_fit_is_shed_oldest_first_and_confessed(monkeypatch):
    with simulated(COM, is_paused=True) as sim, streamed(sim, COM, topics_per_connection=8) as run:
        run.until_state("streaming")
        monkeypatch.setattr(run.stream._outbox, "_max_bytes", 500_000)
        run.broker = broker = Broker(is_here=False)
        for _ in range(10):
            run.burst(1_000)
            sim.drained()
        until(lambda: run.gaps_of(Cause.SHED))
        until(lambda: run.stream.snapshot().frames >= 10_000)
        broker.is_here = True
        until(lambda: run.stream.snapshot().spooled == 0)
        lost = {(b, n) for b, ns in run.numbers().items() for n in set(range(max(ns))) - set(ns)}
        shed = run.gaps_of(Cause.SHED)
        assert len(shed) >= len(lost) > 0
        topics = {frozenset(t.partition("@")[0].upper() for t in ts) for ts in run.subscribed().values()}
        expected = {tuple(sorted(run.all_names[n] for n in natives)) for natives in topics}
        assert {g.symbols for g in shed} <= expected, "the symbols of the connection that lost it"
        assert all(g.from_ns < g.to_ns for g in shed)
        for numbers in run.numbers().values():
            assert numbers == sorted(numbers), "in order"


def test_what_was_shed_after_its_connection_died_has_the_same_symbols(monkeypatch):
    with simulated(COM, is_paused=True) as sim, streamed(sim, COM, topics_per_connection=8) as run:
        run.until_state("streaming")
        run.broker = broker = Broker(is_here=False)
        until(lambda: run.burst(50) is None and run.stream.snapshot().spooled >= 4)
        sim.fault(COM, "abort")
        until(lambda: len(run.gaps_of(Cause.DISCONNECT)) == 2)
        monkeypatch.setattr(run.stream._outbox, "_max_bytes", 1)
        run.burst(50)
        shed = until(lambda: run.gaps_of(Cause.SHED))
        assert all(len(g.symbols) < 13 for g in shed)
        broker.is_here = True


def test_calm_frames_leave_within_two_tenths_of_a_second():
    with simulated(COM, pace=2) as sim, streamed(sim, COM) as run:
        run.until_state("streaming")
        arrived: list[tuple[FrameBatch, int]] = []
        run.broker = lambda batch: arrived.append((batch, time.time_ns()))
        until(lambda: len(arrived) >= 20)
    waits_s = sorted((now - batch.arrivals[0][1]) / SECOND for batch, now in arrived)
    assert waits_s[len(waits_s) // 2] < 0.2
    firsts = [batch.number for batch, _ in arrived]
    assert all(b - a == 1 for a, b in itertools.pairwise(firsts))
