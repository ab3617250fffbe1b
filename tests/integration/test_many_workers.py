"""Eight workers on one queue, restarted in turn, and a closer that comes last: no candle is another one for it."""

from __future__ import annotations

import json
import signal
from decimal import Decimal

import pytest

from tests.integration.test_crash import BATCH, BUCKETS, FIELDS, LIST_SYMBOLS, NATIVES, PUBLISH, TRADES, answer, trades
from tests.support.http_server import http_server
from tests.support.stack import Stack, stack
from tests.support.trades import truth

BATCHES = TRADES // BATCH
STORED = "batches:binance:crash"
RESTARTS = 2
QUEUES = ["ticks.binance.0"]
EIGHT = ("--pool", "prefork", "--concurrency", "8")


def restart(running: Stack, name: str) -> None:
    """As a deployment does: what runs is finished, what is left goes to the next worker."""
    worker = running.process(name)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=60) == 0
    running.worker(name, QUEUES, *EIGHT)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_eight_workers_restarted_in_turn_and_a_closer_that_comes_last_change_no_candle(tmp_path):
    with http_server(answer) as rest, stack(tmp_path) as running:
        endpoint = {"rest": rest.url, "ws": rest.url.replace("http", "ws")}
        running.environment["EXCHANGE_ENDPOINTS"] = json.dumps({"binance": endpoint})
        running.manage("shell", "--no-imports", "-c", LIST_SYMBOLS.format(natives=NATIVES))
        running.manage("shell", "--no-imports", "-c", PUBLISH)
        running.worker("ticks", QUEUES, *EIGHT)
        for turn in range(RESTARTS):
            least = BATCHES * (turn + 1) // (RESTARTS + 2)
            running.wait(f"{least} batches", lambda least=least: running.state.bitcount(STORED) >= least, 120)
            restart(running, "ticks")
        running.wait("every batch", lambda: running.state.bitcount(STORED) == BATCHES, 120)
        assert running.state.keys("candles:*") == []

        running.worker("candles", ["candles", "signals", "default", "backfill.binance"])
        running.beat()
        expected = truth(trades())

        def closed():
            series = [f"candles:binance:{name}:5m" for name in NATIVES.values()]
            candles = [json.loads(member) for key in series for member in running.state.zrange(key, 0, -1)]
            return candles if len(candles) == len(expected) else None

        for candle in running.wait("all candles closed", closed, 120):
            native = candle["symbol"].replace("-", "")
            for field in FIELDS:
                assert Decimal(candle[field]) == expected[native, candle["open_time"]][field], (native, field)
        keys = [f"indicator:binance:{name}:5m:macdv" for name in NATIVES.values()]
        running.wait("indicators of what was closed before", lambda: all(running.state.exists(key) for key in keys))
        print(f"8 workers, {RESTARTS} restarts, {len(expected)} candles in {BUCKETS} buckets equal to the truth")
