"""Every Celery message is delivered twice; candles, gaps and signals are as if each had come once."""

from __future__ import annotations

import json
import time
from collections import Counter
from decimal import Decimal
from urllib.parse import urlsplit

import pytest

from tests.candles.streaming import past, streamed
from tests.integration.test_crash import FIELDS
from tests.support.http_server import Answer, Asked, http_server
from tests.support.stack import stack
from tests.support.trades import BUCKET_MS, Made, truth

LEADER, FOLLOWER = "binance", "binance_us"
BUCKETS, BATCH, RECENT = 5, 100, 120
MISSING = range(400, 410)
"""The stream never brought these trades of the leader; REST has them. Long enough ago not to touch signals."""
WORKERS = {
    "ticks": "ticks.binance.0,ticks.binance_us.0",
    "candles": "candles,backfill.binance",
    "signals": "signals",
}

TWICE = """
from livermore.celery import app
from exchanges.state import state_redis
once = app.amqp.send_task_message
def twice(producer, name, message, *args, **options):
    state_redis().hincrby("test:sent", name, 1)
    once(producer, name, message, *args, **options)
    return once(producer, name, message, *args, **options)
app.amqp.send_task_message = twice
"""
PREPARE = """
from decimal import Decimal
from candles.services.record import Closed, record
from livermore.core.candle import Candle, Source, Timeframe
from symbols.models import ExchangeSymbol
from tests.candles.bars import random_walk
from tests.integration.test_twice import FOLLOWER, LEADER
walk = random_walk(1, 300)
rows = [[Decimal(repr(640 * x)) for x in row] for row in zip(walk.open, walk.high, walk.low, walk.close)]
for slug in (LEADER, FOLLOWER):
    ExchangeSymbol(exchange_id=slug, native="BTCUSDT", base="BTC", quote="USDT", tier=1, rank=1).save()
    opens = range({open_ms} - 300 * 300_000, {open_ms}, 300_000)
    place = (slug, "BTC-USDT", Timeframe.M5)
    record([
        Closed(Candle(*place, at_ms, *row, Decimal(1), source=Source.REST), 0)
        for at_ms, row in zip(opens, rows, strict=True)
    ])
print(1)
"""
PUBLISH = """
from candles.tasks import publish_batch
from livermore.core.frame import FrameBatch
from tests.integration.test_twice import publish
publish(publish_batch, FrameBatch, {open_ms})
"""


def quiet(open_ms: int, now_ms: int) -> list[Made]:
    """A trade a second at a price that rests, ids without holes."""
    times = range(open_ms, now_ms, 1_000)
    return [
        Made("BTCUSDT", n, at_ms, f"{64_000 + n % 3 / 100:.2f}", f"0.{1 + n % 9}", n % 2 == 0)
        for n, at_ms in enumerate(times)
    ]


def publish(send, batch, open_ms: int) -> None:
    """The past at once, then some seconds in which the leader moves and the other one follows."""
    began_ms = time.time_ns() // 1_000_000
    numbers = Counter()
    past_trades = quiet(open_ms, began_ms)

    def put(slug: str, trades: list[Made]) -> None:
        frames = tuple(trade.frame() for trade in trades)
        arrivals = ((len(frames), time.time_ns()),)
        send(batch(slug, f"twice-{slug}", numbers[slug], 1, frames, arrivals))
        numbers[slug] += 1

    for slug in (LEADER, FOLLOWER):
        kept = [t for t in past_trades if slug != LEADER or t.id not in MISSING]
        older, recent = kept[:-RECENT], kept[-RECENT:]
        for at in range(0, len(older), BATCH):
            put(slug, older[at : at + BATCH])
        for trade in recent:  # a batch leaves one point on the trail
            put(slug, [trade])
    begins_s = time.monotonic() + 3
    next_id = len(past_trades)
    while (at_s := time.monotonic() - begins_s) < 12:
        now_ms = time.time_ns() // 1_000_000
        for slug, moves_s in ((LEADER, 2), (FOLLOWER, 8)):
            price = "64512.00" if at_s >= moves_s else "64000.00"
            put(slug, [Made("BTCUSDT", next_id, now_ms, price, "0.5", True)])
        next_id += 1
        time.sleep(0.2)


def rest_of(open_ms: int):
    """The venue's REST: every trade of the past, as aggregates."""
    trades = quiet(open_ms, open_ms + BUCKETS * BUCKET_MS)

    def answer(asked: Asked) -> Answer:
        query = asked.query
        first = int(query.get("fromId", 0))
        from_ms = int(query.get("startTime", 0))
        rows = [json.loads(t.frame())["data"] for t in trades if t.id >= first and t.time_ms >= from_ms]
        return Answer([{k: r[k] for k in ("a", "p", "q", "f", "l", "T", "m", "M")} for r in rows[:1000]])

    return answer


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_messages_delivered_twice_change_nothing(tmp_path):
    open_ms = past(BUCKETS)
    with http_server(rest_of(open_ms)) as server:
        place = {"rest": server.url, "ws": f"ws://{urlsplit(server.url).netloc}"}
        endpoints = json.dumps({LEADER: place, FOLLOWER: place})
        with stack(tmp_path, {"EXCHANGE_ENDPOINTS": endpoints}) as running:
            running.python(PREPARE.format(open_ms=open_ms))
            for slug in (LEADER, FOLLOWER):
                streamed(running.state, slug, since_ms=open_ms - 60_000, heard_ms=time.time_ns() // 10**6 + 10**7)
            for name, queues in WORKERS.items():
                argv = ["worker", "-P", "solo", "-n", f"{name}@%h", "-Q", queues, "--loglevel", "INFO"]
                argv += ["--without-gossip", "--without-mingle"]
                running.start(name, "-c", f"import django; django.setup()\n{TWICE}\napp.worker_main({argv!r})")
            beat = ["beat", "--max-interval", "1", "--pidfile", str(tmp_path / "beat.pid")]
            running.start("beat", "-c", f"import django; django.setup()\n{TWICE}\napp.start({beat!r})")
            publisher = f"import django; django.setup()\n{TWICE}\n{PUBLISH.format(open_ms=open_ms)}"
            publishing = running.start("publisher", "-c", publisher)

            check_candles(running, open_ms)
            running.wait("publisher ended", lambda: publishing.poll() == 0, 60)
            check_signals(running)
            sent = {name.decode() for name in running.state.hgetall("test:sent")}
            assert sent >= {
                "candles.ingest", "candles.sweep", "candles.close", "candles.repair", "candles.indicators",
                "signals.evaluate",
            }  # fmt: skip


def check_candles(running, open_ms: int) -> None:
    """Both exchanges' five buckets equal the truth, the one with the hole after its repair."""
    expected = truth(quiet(open_ms, open_ms + BUCKETS * BUCKET_MS))

    def candles():
        found = {}
        for slug in (LEADER, FOLLOWER):
            for member in running.state.zrangebyscore(f"candles:{slug}:BTC-USDT:5m", open_ms, open_ms + 4 * BUCKET_MS):
                candle = json.loads(member)
                found[slug, candle["open_time"]] = candle
        is_whole = len(found) == 2 * BUCKETS and all(c["trades"] == 300 for c in found.values())
        return found if is_whole else None

    for (_, at_ms), candle in running.wait("all candles with every trade", candles, 90).items():
        for field in FIELDS:
            assert Decimal(candle[field]) == expected["BTCUSDT", at_ms][field], (at_ms, field)
    gaps = running.wait(
        "the gap closed",
        lambda: running.python(
            "import json\nfrom candles.models import Gap\n"
            "print(json.dumps([[g.cause, g.method, g.symbol] for g in Gap.objects.all() if g.closed_at]))"
        ),
    )
    assert gaps == [["ids", "trades", "BTC-USDT"]]


def check_signals(running) -> None:
    """Each signal opened and closed once; rows, stream and ids agree."""

    def events():
        kept = [json.loads(fields[b"event"]) for _, fields in running.state.xrange("stream:signals")]
        told = Counter((e["event_id"], e["phase"]) for e in kept)
        ids = {event_id for event_id, _ in told}
        return (kept, told) if ids and all(told[i, "closed"] for i in ids) else None

    kept, told = running.wait("every signal closed", events, 30)
    ids = {event_id for event_id, _ in told}
    assert {told[i, "opened"] for i in ids} == {told[i, "closed"] for i in ids} == {1}
    assert len(ids) == len({e["window_s"] for e in kept})  # one a window
    assert {(e["leader"]["exchange"], e["follower"]["exchange"]) for e in kept} == {(LEADER, FOLLOWER)}
    rows = running.python(
        "import json\nfrom candles.models import Signal\n"
        "print(json.dumps([[str(s.event_id), s.phase, s.outcome] for s in Signal.objects.all()]))"
    )
    assert sorted(rows) == sorted([i, "closed", "converged"] for i in ids)
    print(f"{len(ids)} signals, {sum(told.values())} events")
