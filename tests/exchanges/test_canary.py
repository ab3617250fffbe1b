"""The canary flies with the batches and pretends to be none of them."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from exchanges import registry, wire
from exchanges.canary import CanaryStream
from exchanges.venue import Endpoint, Limits
from livermore.core.frame import CANARY, FrameBatch
from livermore.core.gap import Gap
from tests.support.budgets import OpenBudget
from tests.support.streaming import LIMITS
from tests.support.waiting import until

NOWHERE = "127.0.0.1:1"
published: list[FrameBatch] = []
gaps: list[Gap] = []


@pytest.fixture
def stream() -> Iterator[CanaryStream]:
    """Of a venue that nobody can connect to."""
    published.clear()
    gaps.clear()
    venue = registry.venue("binance")
    rest = venue.rest(Endpoint(rest=f"http://{NOWHERE}", ws=f"ws://{NOWHERE}"), OpenBudget())
    running = CanaryStream(
        venue, rest, Limits(**LIMITS), ["BTCUSDT"], connects=OpenBudget(), epoch=7, publish=published.append,
        report=gaps.append, names={"BTCUSDT": "BTC-USDT"}, canary_every_s=0.02,
    )  # fmt: skip
    running.start()
    yield running
    running.stop(2.0)


def test_it_flies_through_the_outbox_and_counts_as_no_batch(stream: CanaryStream) -> None:
    until(lambda: len(published) >= 3)
    first, second = published[:2]
    assert (first.exchange, first.connection, first.epoch, first.frames) == ("binance", CANARY, 7, ())
    assert second.received_ns > first.received_ns
    assert wire.unpack(wire.pack(first)) == first
    assert stream.snapshot().batches == 0


def test_a_paused_stream_sends_none(stream: CanaryStream) -> None:
    until(lambda: published)
    stream.pause()
    time.sleep(0.1)  # one may have been on its way
    count = len(published)
    time.sleep(0.2)
    assert len(published) == count
    stream.resume()
    until(lambda: len(published) > count)


def test_one_that_is_shed_is_no_gap(stream: CanaryStream) -> None:
    canary = until(lambda: published)[0]
    stream._shed(canary)
    assert gaps == []
