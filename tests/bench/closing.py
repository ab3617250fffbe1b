"""A border: how long 1,000 symbols take from due to published, and what one bucket of 100,000 trades costs."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import kombu

from candles import slab
from candles.audit import Witnesses, judge
from candles.fold import fold_believed
from livermore.celery import app
from tests.bench.end_to_end import LIST_SYMBOLS
from tests.candles.streaming import trade
from tests.support.stack import Stack, stack
from tests.support.trades import BUCKET_MS, make

SYMBOLS, WORKERS, TRADES_EACH = 1_000, 2, 200
BIG = 100_000
FILL = """
import json
from candles import ledger, slab
from livermore.core.trade import Trade
from tests.support.trades import make
for index in range({symbols}):
    made = make({trades}, ["X"], {open_ms}, 1, seed=index)
    for at in range(0, len(made), 50):
        trades = [Trade(f"S{{index:04d}}-USDT", m.time_ms * 10**6, m.id, 1, m.price, m.quantity, m.is_buy)
                  for m in made[at:at + 50]]
        ledger.store("binance", f"c:{{at}}", slab.group(trades, 1), {open_ms} + 300_000)
print(json.dumps(1))
"""


@dataclass(frozen=True)
class Border:
    """Seconds of wall time from the sweep to the last candle in Redis, and of CPU for one big bucket."""

    published_s: float
    big_cpu_s: float
    bytes_per_trade: float


def run() -> Border:
    """One border on a fresh deployment with two workers, and the big bucket alone."""
    open_ms = (int(time.time() * 1000) // BUCKET_MS - 2) * BUCKET_MS
    with tempfile.TemporaryDirectory() as folder, stack(Path(folder)) as running:
        natives = [f"S{index:04d}USDT" for index in range(SYMBOLS)]
        running.manage("shell", "--no-imports", "-c", LIST_SYMBOLS.format(natives=natives))
        running.python(FILL.format(symbols=SYMBOLS, trades=TRADES_EACH, open_ms=open_ms))
        published_s = _published_s(running)
    return Border(published_s, *_big())


def _published_s(running: Stack) -> float:
    for number in range(WORKERS):
        running.worker(f"candles{number}", ["candles"])
    running.wait("workers ready", lambda: all("ready." in running.log(f"candles{n}") for n in range(WORKERS)))
    listener = running.state.pubsub(ignore_subscribe_messages=True)
    listener.psubscribe("channel:candle:close:binance:*:5m")
    with kombu.Connection(running.environment["CELERY_BROKER_URL"]) as broker:
        broker.ensure_connection(timeout=5)
        began = time.monotonic()
        app.send_task("candles.sweep", queue="candles", connection=broker)
        told = 0
        while told < SYMBOLS:
            told += listener.get_message(timeout=1) is not None
            assert time.monotonic() - began < 60, f"{told} of {SYMBOLS} candles were published"
    return time.monotonic() - began


def _big() -> tuple[float, float]:
    stored = {}
    made = make(BIG, ["X"], 1_770_000_000_000, 1)
    for at in range(0, BIG, 50):
        trades = [trade(m, "X-USDT") for m in made[at : at + 50]]
        for columns in slab.group(trades, 1).values():
            stored[f"c:{at}"] = slab.encode(columns)
    spent = []
    for _ in range(5):
        began = time.process_time()
        folded, doubted = fold_believed({name: slab.decode(one) for name, one in stored.items()}, None)
        assert folded is not None
        assert folded.trades == BIG
        judge(folded, Witnesses(True, folded.first_id, folded.last_id, True, False, doubted))
        spent.append(time.process_time() - began)
    return sorted(spent)[2], sum(map(len, stored.values())) / BIG
