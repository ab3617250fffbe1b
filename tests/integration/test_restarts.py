"""Redis, broker and state in one, is restarted five times while the venue trades on; candles still equal the truth."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from livermore.core import keys
from tests.integration.test_exact_candles import is_equal
from tests.support.simulation import Running, simulated
from tests.support.stack import Stack, stack

VENUE = "binance"
RESTARTS = 5
BUCKET_MS = 300_000
BUCKETS = 3


def host(running: Stack) -> dict[str, str]:
    """What the host tells of its stream."""
    return {k.decode(): v.decode() for k, v in running.state.hgetall(keys.stream(VENUE)).items()}


def trade(simulation: Running, seconds: float) -> None:
    """Let the venue trade for so long, in its own time, and its clients read it."""
    for _ in range(round(seconds / 15)):
        simulation.call(simulation.simulation.advance, 15)
        simulation.drained()


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_redis_restarted_five_times_and_candles_equal_the_truth(tmp_path):
    start_ms = (int(time.time() * 1000) // BUCKET_MS - BUCKETS - 2) * BUCKET_MS + 240_000
    first_ms = start_ms - start_ms % BUCKET_MS + BUCKET_MS
    with (
        simulated(VENUE, seed=13, start_ms=start_ms, is_paused=True) as simulation,
        stack(tmp_path) as running,
    ):
        running.environment["EXCHANGE_ENDPOINTS"] = json.dumps(simulation.endpoints)
        running.worker("ticks", [f"ticks.{VENUE}.0"], BROKER_VISIBILITY_TIMEOUT_S="5")
        running.worker("rest", ["candles", "signals", "default", f"backfill.{VENUE}"])
        running.beat()
        running.start("host", "manage.py", "stream_host", "--autostart", VENUE)
        running.wait("it streams", lambda: host(running).get("state") == "streaming")
        trade(simulation, 60)
        spooled = []
        for _ in range(RESTARTS):
            with running.without_redis():
                trade(simulation, 120)
                running.wait("a spool", lambda: [*tmp_path.glob(f"spool/{VENUE}/*/*.seg")], 20)
                trade(simulation, 30)
                spooled.append(sum(file.stat().st_size for file in tmp_path.glob(f"spool/{VENUE}/*/*.seg")))
            trade(simulation, 30)
        running.wait("nothing waits on disk", lambda: not [*tmp_path.glob(f"spool/{VENUE}/*/*.seg")], 30)
        trade(simulation, 30)
        rows = running.python(
            "import json\nfrom symbols import services\n"
            f"print(json.dumps(list(services.streamed_names({VENUE!r}).items())))"
        )
        names = {(VENUE, native): name for native, name in rows}
        wanted: dict[tuple[str, str, int], Any] = {}
        for _, native in names:
            for open_ms in range(first_ms, first_ms + BUCKETS * BUCKET_MS, BUCKET_MS):
                kline = simulation.call(simulation.simulation.truth, VENUE, native, open_ms)
                if kline.volume:
                    wanted[VENUE, native, open_ms] = kline
        different = lambda: [place for place, kline in wanted.items() if not is_equal(running, names, place, kline)]  # noqa: E731
        began_s = time.monotonic()
        running.wait("every candle equal to the truth", lambda: not different(), 60)
        print(f"{len(wanted)} candles equal {time.monotonic() - began_s:.1f} s after; on disk {spooled} bytes")
        assert len(wanted) > len(names) * BUCKETS * 0.8
        assert "stream.shed" not in running.log("host")
