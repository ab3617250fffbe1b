"""Workers die at random; every candle is equal to the truth all the same."""

from __future__ import annotations

import json
import threading
from decimal import Decimal
from functools import cache

import pytest

from tests.support.http_server import Answer, Asked, http_server
from tests.support.stack import Stack, stack
from tests.support.trades import BUCKET_MS, make, truth

TRADES, BATCH, KILLS = 60_000, 50, 6
NATIVES = {"BTCUSDT": "BTC-USDT", "ETHUSDT": "ETH-USDT", "SOLUSDT": "SOL-USDT"}
OPEN_MS = 1_770_000_000_000
BUCKETS = 4

LIST_SYMBOLS = """
from symbols.models import ExchangeSymbol
for native, name in {natives}.items():
    base, quote = name.split("-")
    ExchangeSymbol(exchange_id="binance", native=native, base=base, quote=quote, tier=1, quote_precision=8).save()
"""
PUBLISH = """
import json
from candles.tasks import publish_batch
from livermore.core.frame import FrameBatch
from tests.integration.test_crash import BATCH, BUCKETS, OPEN_MS, TRADES, batches
from tests.support.trades import BUCKET_MS
for number, frames in enumerate(batches()):
    received_ns = (OPEN_MS + number * BUCKETS * BUCKET_MS * BATCH // TRADES) * 1_000_000
    publish_batch(FrameBatch("binance", "crash", number, 1, tuple(frames), ((len(frames), received_ns),)))
print(json.dumps(number + 1))
"""
FIELDS = ("open", "high", "low", "close", "volume", "turnover", "taker_buy_volume")


@cache
def trades():
    return make(TRADES, list(NATIVES), OPEN_MS, BUCKETS)


def batches():
    made = trades()
    return [[trade.frame() for trade in made[at : at + BATCH]] for at in range(0, len(made), BATCH)]


def qualities(running: Stack) -> dict[tuple[str, int], str]:
    """Of every closed candle, by (symbol, open)."""
    members = [m for name in NATIVES.values() for m in running.state.zrange(f"candles:binance:{name}:5m", 0, -1)]
    return {(c["symbol"], c["open_time"]): c["quality"] for c in map(json.loads, members)}


def answer(asked: Asked) -> Answer:
    """The venue's REST: it gives any trade again, a thousand at a time."""
    if not asked.path.endswith("/aggTrades"):
        return Answer(status=404, body={"code": -1, "msg": "not served"})
    low, high = int(asked.query.get("startTime", 0)), int(asked.query.get("endTime", 2**62))
    first = int(asked.query.get("fromId", 0))
    rows = [
        {"a": t.id, "p": t.price, "q": t.quantity, "f": t.id, "l": t.id, "T": t.time_ms, "m": not t.is_buy, "M": True}
        for t in trades()
        if t.native == asked.query["symbol"] and t.id >= first and low <= t.time_ms <= high
    ]
    return Answer(rows[:1000])


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_six_killed_workers_change_no_candle(tmp_path):
    with http_server(answer) as rest, stack(tmp_path) as running:
        endpoint = {"rest": rest.url, "ws": rest.url.replace("http", "ws")}
        running.environment["EXCHANGE_ENDPOINTS"] = json.dumps({"binance": endpoint})
        running.manage("shell", "--no-imports", "-c", LIST_SYMBOLS.format(natives=NATIVES))
        quick = {"BROKER_VISIBILITY_TIMEOUT_S": "5"}
        running.worker("candles", ["candles", "signals", "default", "backfill.binance"], **quick)
        running.worker("ticks", ["ticks.binance.0"], **quick)
        running.beat()
        publisher = threading.Thread(target=running.manage, args=("shell", "--no-imports", "-c", PUBLISH))
        publisher.start()
        stored = "batches:binance:crash"
        for kill in range(KILLS):
            # Each time after some more batches were stored, so that every kill hits a worker at work.
            before = running.state.bitcount(stored)
            running.wait(f"progress before kill {kill}", lambda b=before: running.state.bitcount(stored) > b + 20)
            running.kill("ticks")
            running.worker("ticks", ["ticks.binance.0"], **quick)
        publisher.join(60)
        expected = truth(trades())

        def candles():
            found = {}
            for native, name in NATIVES.items():
                for member in running.state.zrange(f"candles:binance:{name}:5m", 0, -1):
                    candle = json.loads(member)
                    found[native, candle["open_time"]] = candle
            is_whole = len(found) == len(expected) and sum(c["trades"] for c in found.values()) == TRADES
            return found if is_whole else None

        # A worker killed between taking a message from Redis and noting that it has it loses the message for
        # good; the hole in the ids then tells, and the trades are fetched again.
        found = running.wait("all candles closed with every trade", candles, 120)
        for place, candle in found.items():
            for field in FIELDS:
                assert Decimal(candle[field]) == expected[place][field], (place, field)
        print(f"{KILLS} kills, {TRADES} trades, {len(found)} of {len(expected)} candles equal to the truth")
        assert len(found) == BUCKETS * len(NATIVES)
        # The inner buckets' ids join on both sides; the outer two have a neighbour we never saw.
        inner = [c for c in found.values() if OPEN_MS < c["open_time"] < OPEN_MS + (BUCKETS - 1) * BUCKET_MS]
        places = [(c["symbol"], c["open_time"]) for c in inner]
        running.wait("ids that join", lambda: {qualities(running)[place] for place in places} == {"proven"}, 30)
