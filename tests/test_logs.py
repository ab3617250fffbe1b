"""One canonical line per unit of work, and the batch's id on each from socket to candle."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from celery.contrib.testing.worker import start_worker

from candles.services import continuity, ingest
from candles.tasks import publish_batch, sweep
from exchanges import wire
from exchanges.outbox import Outbox
from livermore import logs
from livermore.celery import app
from livermore.core import keys
from livermore.core.candle import BUCKET_MS
from livermore.core.frame import FrameBatch, runs
from symbols.models import ExchangeSymbol
from tests.support.waiting import until

CONNECTION = "followed"


class Lines(logging.Handler):
    """Every line as it would be printed."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logs.LineFormatter())
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))

    def of(self, name: str) -> list[str]:
        """The lines of one event."""
        return [line for line in list(self.lines) if line.split(" ")[2] == name]


@pytest.fixture
def printed() -> Iterator[Lines]:
    lines = Lines()
    names = ("candles", "exchanges")
    for name in names:
        logging.getLogger(name).addHandler(lines)
        logging.getLogger(name).setLevel(logging.DEBUG)
    yield lines
    for name in names:
        logging.getLogger(name).removeHandler(lines)
        logging.getLogger(name).setLevel(logging.NOTSET)


def test_what_is_bound_stands_on_every_line_of_this_work_and_on_no_other() -> None:
    lines, log = Lines(), logging.getLogger("tests.logs")
    log.addHandler(lines)
    log.setLevel(logging.INFO)
    logs.bind(batch="c:1")
    try:
        log.warning("plain.line")
        logs.event(log, "own.word", batch="c:2")
        other = threading.Thread(target=lambda: log.warning("other.work"))
        other.start()
        other.join()
    finally:
        logs.unbind()
        log.removeHandler(lines)
    log.warning("afterwards")
    assert [line.split(" ", 1)[1] for line in lines.lines] == [
        "WARNING plain.line batch=c:1",
        "INFO own.word batch=c:2",
        "WARNING other.work",
    ]


@pytest.mark.parametrize(
    ("ids", "short"),
    [
        ([], ""),
        (["a:3"], "a:3"),
        (["a:5", "a:3", "a:4", "a:9", "b:0"], "a:3-5,9 b:0"),
        (["rest:1-2", "a:1"], "a:1 rest:1-2"),
    ],
)
def test_batches_in_short(ids: list[str], short: str) -> None:
    assert runs(ids) == short


def _batch(number: int, trade_ids: list[int], at_ms: int, connection: str = CONNECTION) -> FrameBatch:
    trade = {"e": "aggTrade", "E": 1, "s": "BTCUSDT", "p": "64000", "q": "1", "m": False, "T": at_ms}
    frames = tuple(
        json.dumps({"stream": "btcusdt@aggTrade", "data": trade | {"a": one, "f": one, "l": one}}).encode()
        for one in trade_ids
    )
    return FrameBatch("binance", connection, number, 1, frames, ((len(frames), at_ms * 1_000_000),))


@pytest.mark.django_db(transaction=True)
def test_a_batch_can_be_followed_from_the_socket_to_its_candle(
    redis_state: Any, printed: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(continuity, "PATIENCE_S", 0.0)
    ExchangeSymbol.objects.create(exchange_id="binance", native="BTCUSDT", base="BTC", quote="USDT", tier=1, rank=1)
    open_ms = time.time_ns() // 1_000_000 // BUCKET_MS * BUCKET_MS - BUCKET_MS
    outbox = Outbox(publish_batch, pytest.fail)
    outbox.start()
    outbox.put(_batch(0, [1, 2], open_ms + 1_000))
    outbox.put(_batch(1, [7], open_ms + 2_000))  # trades 3 to 6 are lost
    assert outbox.drain(10)
    with start_worker(app, pool="solo", perform_ping_check=False, queues=["ticks.binance.0", "candles"]):
        until(lambda: printed.of("gap.opened"))
        sweep.delay()
        until(lambda: printed.of("buckets.closed"))
    assert [f"batch={CONNECTION}:0" in line for line in printed.of("batch.published")] == [True, False]
    assert [f"batch={CONNECTION}:1" in line for line in printed.of("batch.stored")] == [False, True]
    # A hole of ids is noted by another task, which says in which batch it was seen.
    assert any("cause=ids" in line and f"batch={CONNECTION}:1" in line for line in printed.of("gap.opened"))
    assert f"batches={CONNECTION}:0-1" in printed.of("candle.closed")[0]


def test_a_line_a_batch_not_a_line_a_frame(db: None, redis_state: Any, printed: Lines) -> None:
    ExchangeSymbol.objects.create(exchange_id="binance", native="BTCUSDT", base="BTC", quote="USDT", tier=1, rank=1)
    ingest.ingest(wire.pack(_batch(0, list(range(1, 200)), time.time_ns() // 1_000_000, "other")))
    logs.unbind()
    assert len(printed.lines) == 1
    assert "frames=199" in printed.lines[0]
    assert redis_state.exists(keys.arrived("binance"))
