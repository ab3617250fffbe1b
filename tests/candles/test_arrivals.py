"""A batch number that never comes is a gap; one that comes late is not."""

from __future__ import annotations

import time

import pytest

from candles.services import arrivals, ingest, quarantine
from exchanges import registry, wire
from livermore.core import keys
from livermore.core.frame import FrameBatch
from livermore.core.gap import Cause, Gap
from symbols.models import ExchangeSymbol
from tests.support.trades import Made

pytestmark = pytest.mark.django_db
NOW_MS = int(time.time() * 1000)


def overdue_ms() -> int:
    """When no broker redelivers any more what is missed now."""
    return int(time.time() * 1000) + 10 * 60_000


@pytest.fixture(autouse=True)
def _clean(redis_state):
    for memory in (arrivals._newest, arrivals._epochs, ingest._books, ingest._previews):
        memory.clear()
    ExchangeSymbol(exchange_id="binance", native="BTCUSDT", base="BTC", quote="USDT", tier=1).save()


def arrive(number: int, epoch: int = 1, exchange: str = "binance") -> list[Gap]:
    frame = Made("BTCUSDT", 100 + number, NOW_MS + number, "64000.1", "1", True).frame()
    received_ns = (NOW_MS + 1000 * number) * 1_000_000
    batch = wire.pack(FrameBatch(exchange, "c", number, epoch, (frame,), ((1, received_ns),)))
    return ingest.ingest(batch).gaps


def test_a_number_that_never_comes_becomes_one_gap_around_its_time():
    for number in (0, 1, 3):
        arrive(number)
    assert arrivals.lost("binance", NOW_MS) == []  # it may still be redelivered
    (gap,) = arrivals.lost("binance", overdue_ms())
    assert (gap.cause, gap.connection, gap.symbols) == (Cause.BATCH, "c", ())
    assert gap.from_ns <= (NOW_MS + 1000) * 1_000_000 < (NOW_MS + 3000) * 1_000_000 <= gap.to_ns
    assert arrivals.lost("binance", overdue_ms()) == []


def test_a_number_that_comes_late_is_no_gap():
    for number in (0, 2, 1):
        arrive(number)
    assert arrivals.lost("binance", overdue_ms()) == []


def test_a_number_that_was_set_aside_is_no_second_gap():
    for number in (0, 2):
        arrive(number)
    (gap,) = quarantine.set_aside(wire.pack(FrameBatch("binance", "c", 1, 1, (b"?",), ((1, 1),))), "odd", 3)
    assert gap.cause is Cause.BATCH
    assert arrivals.lost("binance", overdue_ms()) == []


def test_a_worker_that_begins_anew_still_sees_the_hole():
    arrive(0)
    arrivals._newest.clear()
    arrive(2)
    assert len(arrivals.lost("binance", overdue_ms())) == 1


def test_forgotten_connections_leave_no_trace(redis_state):
    arrive(0)
    arrivals.lost("binance", NOW_MS + 3 * 3600_000)
    assert redis_state.hlen(keys.arrived("binance")) == 0


def test_an_old_holder_is_refused_only_where_trades_have_no_ids(redis_state):
    for exchange in ("binance", "mexc"):
        redis_state.set(keys.epoch(exchange), 7)
    assert not arrivals.is_stale(registry.venue("binance"), FrameBatch("binance", "c", 0, 3, (), ()))
    assert arrivals.is_stale(registry.venue("mexc"), FrameBatch("mexc", "c", 0, 6, (), ()))
    assert not arrivals.is_stale(registry.venue("mexc"), FrameBatch("mexc", "c", 0, 7, (), ()))
    (gap,) = arrive(0, epoch=6, exchange="mexc")
    assert (gap.exchange, gap.cause, gap.symbols) == ("mexc", Cause.BATCH, ())
    assert gap.from_ns <= NOW_MS * 1_000_000 - arrivals.MARGIN_NS
    assert gap.to_ns >= NOW_MS * 1_000_000 + arrivals.MARGIN_NS
    assert redis_state.hget(keys.rejected("mexc"), "batch of an older lease") == b"1"
    assert arrive(1, epoch=7, exchange="mexc") == []
