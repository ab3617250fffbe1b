"""The broker away for ten minutes and more at 2,000 frames a second, and a frame that never came: in figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from livermore.core.gap import Cause
from tests.support.simulation import simulated
from tests.support.streaming import streamed
from tests.support.waiting import until

ROOT = Path(__file__).resolve().parents[2]
FRAMES = 1_200_000
"""Ten minutes at 2,000 a second; a read of the socket brings twenty."""

# In a process of its own, whose memory is nobody else's.
PROGRAM = """
import json, logging, os, sys, time
from pathlib import Path
from exchanges.batching import Batcher
from exchanges.outbox import Outbox
from exchanges.spool import Spool
from livermore.core.errors import StoreUnavailable

logging.disable(logging.CRITICAL)
FRAME = (b'{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":%d,"s":"BTCUSDT","a":%d,"p":"64000.10000000",'
         b'"q":"0.00123000","f":%d,"l":%d,"T":%d,"m":true,"M":true}}')
taken, shed, is_away = [], [], True

def publish(batch):
    if is_away:
        raise StoreUnavailable("away")
    taken.append(batch.number)

def rss_mb():
    with open("/proc/self/statm") as told:
        return int(told.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

def receive(first, count):
    for number in range(first, first + count, 20):
        at_ms = 1_790_000_000_000 + number // 2
        ids = range(3_000_000_000 + number, 3_000_000_020 + number)
        batcher.add([FRAME % (at_ms, i, i, i, at_ms) for i in ids], at_ms * 1_000_000)
        if batcher.is_due((at_ms + 10) * 1_000_000):
            outbox.put(batcher.take())

count, before_mb = int(sys.argv[1]), rss_mb()
options = {"max_bytes": int(sys.argv[2])} if int(sys.argv[2]) else {}
if sys.argv[3]:
    options["spool"] = Spool(Path(sys.argv[3]), 1)
outbox, batcher = Outbox(publish, lambda batch: shed.append(batch.number), **options), Batcher("binance", "c", 1)
outbox.start()
receive(0, count)
while sys.argv[3] and len(options["spool"]) < batcher.number - 1:
    time.sleep(0.01)
told = {"mb": rss_mb() - before_mb, **outbox.figures()}
is_away = False
told |= {"is_drained": outbox.drain(60), "taken": taken, "shed": shed, "batches": batcher.number}
print(json.dumps(told))
"""


SMALL_BOUND, DISK = 8 * 1024 * 1024, -1


@pytest.fixture(scope="module", params=[0, SMALL_BOUND, DISK], ids=["memory", "too little memory", "disk"])
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What became of an outage of ten minutes, in memory (as bounded as usual, or too much so) and with a spool."""
    spool = str(tmp_path_factory.mktemp("spool")) if request.param == DISK else ""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(FRAMES), str(max(0, request.param)), spool],
        cwd=ROOT, env={**os.environ, "DJANGO_SETTINGS_MODULE": "livermore.settings"},
        check=True, capture_output=True, text=True, timeout=110,
    )  # fmt: skip
    answer: dict[str, Any] = json.loads(done.stdout)
    print({name: value for name, value in answer.items() if not isinstance(value, list)})
    return {**answer, "bound": request.param}


def test_ten_minutes_without_a_broker_take_200_mb_at_most(told: dict[str, Any]) -> None:
    """S11, S13: all that was received waits; where it does not fit, the oldest is shed and named."""
    if told["bound"] == DISK:
        assert told["shed"] == []
        assert told["spooled_bytes"] > 5e6
        assert told["mb"] <= 50
    elif not told["bound"]:
        assert told["shed"] == []
        assert told["spooled"] > 4_000
        assert told["mb"] <= 200
    else:
        assert told["shed"] == sorted(told["shed"]) != []
        assert told["mb"] <= 50


def test_what_waited_is_published_in_order_once_the_broker_is_back(told: dict[str, Any]) -> None:
    """S13: what was kept and what was shed are together all, each once."""
    assert told["is_drained"]
    assert told["taken"] == sorted(told["taken"])
    assert sorted(told["taken"] + told["shed"]) == list(range(told["batches"]))


def test_one_frame_that_never_came_is_a_gap_within_a_second() -> None:
    """S12: at the venue that numbers its frames; the gap is as narrow as two arrivals and the clocks' margin."""
    slug = "coinbase"
    with simulated(slug, is_paused=True) as sim, streamed(sim, slug) as run:
        run.until_state("streaming")
        run.burst(500)
        run.until_caught_up()
        sim.fault(slug, "drop", count=1)
        dropped_s, dropped_ns = time.monotonic(), time.time_ns()
        run.burst(500)
        [gap] = until(lambda: run.gaps_of(Cause.SEQUENCE), within_s=10)
        print(f"told {time.monotonic() - dropped_s:.2f} s after the drop")
        run.burst(500)  # what was lost lies between two trades heard
        run.until_caught_up()
        assert gap.from_ns <= dropped_ns <= gap.to_ns
        assert gap.to_ns - gap.from_ns <= 12_000_000_000
        assert len(run.gaps_of(Cause.SEQUENCE)) == 1
        assert run.missing()
        assert {native for native, *_ in run.missing()} <= {n for n, s in run.all_names.items() if s in gap.symbols}
