"""A stream host is told to end while a thousand trades a second arrive: in time, in good order, and nothing is lost."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest

from exchanges import registry, wire
from livermore.core import keys
from livermore.core.frame import FrameBatch
from livermore.core.symbol import SymbolBook
from tests.support.simulation import Running, simulated
from tests.support.stack import Stack, stack

SLUG, NAME = "binance", "h1"
PACE = 40.0
"""Of the usual number of trades: a thousand a second."""

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # python-binance's imports


@pytest.fixture
def running(tmp_path) -> Iterator[tuple[Stack, Running]]:
    """A host that streams, and nobody who takes its messages."""
    with simulated(SLUG, pace=PACE) as sim, stack(tmp_path) as started:
        started.environment["EXCHANGE_ENDPOINTS"] = json.dumps(sim.endpoints)
        started.start("host", "manage.py", "stream_host", "--name", NAME, "--autostart", SLUG)
        yield started, sim


def newest(sim: Running) -> dict[str, int]:
    """The last execution's id of every listing."""

    def look() -> dict[str, int]:
        market = sim.simulation.market
        return {x.native: market.tape(SLUG, x.native).next_id - 1 for x in market.listings}

    return sim.call(look)


def published(started: Stack) -> list[FrameBatch]:
    """Every batch that reached the broker, oldest first."""
    batches = []
    broker: Any = started.state.__class__.from_url(started.environment["CELERY_BROKER_URL"])
    with broker:
        for text in reversed(broker.lrange(f"ticks.{SLUG}.0", 0, -1)):
            [body], *_ = msgpack.unpackb(base64.b64decode(json.loads(text)["body"]))
            batches.append(wire.unpack(body))
    return [batch for batch in batches if batch.frames]  # a canary flies among them


def heard(batches: list[FrameBatch], natives: list[str]) -> dict[str, list[int]]:
    """The executions' ids in the order published, by native."""
    book = SymbolBook(SLUG, {n: n for n in natives}, 1)
    found: dict[str, list[int]] = {}
    for batch in batches:
        mapped = registry.venue(SLUG).mapper(batch.frames, book)
        assert mapped.rejected == []
        for trade in mapped.trades:
            found.setdefault(trade.symbol, []).extend(range(int(trade.id), int(trade.id) + trade.executions))
    return found


def test_a_host_told_to_end_under_load_leaves_nothing_behind(running: tuple[Stack, Running]) -> None:
    """S16: exit code 0 within 10 s, no tick lost, the lease free within a second."""
    started, sim = running
    queue = f"ticks.{SLUG}.0"
    broker: Any = started.state.__class__.from_url(started.environment["CELERY_BROKER_URL"])
    with broker:
        started.wait("messages", lambda: broker.llen(queue) >= 20)
    assert started.state.exists(keys.lease(SLUG))
    marks = newest(sim)
    sim.drained()
    host, told_s = started._processes["host"], time.monotonic()
    host.terminate()
    code = host.wait(timeout=30)
    took_s = time.monotonic() - told_s
    assert not started.state.exists(keys.lease(SLUG)), "free at the moment of the exit"
    assert started.state.zscore(keys.hosts(), NAME) is None
    assert code == 0
    assert took_s <= 10
    batches = published(started)
    assert [b.number for b in batches] == list(range(len(batches)))
    ids = heard(batches, list(marks))
    for native, numbers in ids.items():
        assert numbers == list(range(numbers[0], numbers[-1] + 1)), native
        assert numbers[-1] >= marks[native], native
    assert len(ids) > 9, "a stable pair is not followed, one symbol hardly trades even so"
    span_s = (batches[-1].received_ns - batches[0].received_ns) / 1e9
    assert sum(map(len, ids.values())) / span_s > 300, "under load"
    print(f"{sum(map(len, ids.values()))} trades in {span_s:.1f} s, exit after {took_s:.2f} s")
