"""Tasks as messages on a real broker: their queues, their short texts, and what each one enqueues."""

from __future__ import annotations

import base64
import json
import logging

import pytest
import redis

from candles import ledger, tasks
from candles.ledger import Bucket
from candles.models import Gap as GapRow
from candles.services import ingest
from exchanges import registry
from livermore.celery import app
from livermore.core import keys
from livermore.core.errors import VenueUnavailable
from livermore.core.frame import FrameBatch
from livermore.core.gap import Cause, Gap
from symbols.models import ExchangeSymbol
from tests.candles.streaming import now_ms, past, store, streamed
from tests.support.http_server import Answer, http_server
from tests.support.trades import BUCKET_MS, make

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # python-binance's imports
]
AT, BTC = "binance", "BTC-USDT"


class Broker:
    """What waits in the queues."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url)

    def take(self, queue: str) -> list[dict]:
        """Every message of a queue, oldest first: task name, args and the text that Flower shows."""
        taken = []
        while (text := self._client.rpop(queue)) is not None:
            message = json.loads(text)
            body = base64.b64decode(message["body"])
            decode = json.loads if message["content-type"] == "application/json" else ingest_body
            headers = message["headers"]
            shown = {"task": headers["task"], "argsrepr": headers["argsrepr"], "args": decode(body)[0]}
            taken.append({**shown, "expires": headers["expires"]})
        return taken


def ingest_body(body: bytes) -> list:
    import msgpack

    return msgpack.unpackb(body)


@pytest.fixture
def broker(redis_state, settings):
    ingest._books.clear()
    ingest._previews.clear()
    ExchangeSymbol(exchange_id=AT, native="BTCUSDT", base="BTC", quote="USDT", tier=1).save()
    return Broker(settings.CELERY_BROKER_URL)


def batch(open_ms: int, count: int = 200) -> FrameBatch:
    frames = tuple(trade.frame() for trade in make(count, ["BTCUSDT"], open_ms, 1))
    return FrameBatch(AT, "c0ffee", 7, 3, frames, ((count, now_ms() * 1_000_000),))


def test_every_task_is_named_after_its_app():
    ours = {name for name in app.tasks if not name.startswith("celery.")}
    assert {
        "candles.ingest", "candles.sweep", "candles.close", "candles.note_gap", "candles.repair",
        "candles.load_history", "candles.indicators", "signals.evaluate", "signals.sweep", "symbols.refresh_tier1",
    } <= ours  # fmt: skip


def test_a_batch_travels_as_it_is_and_says_little_in_flower(broker):
    sent = batch(past(2))
    tasks.publish_batch(sent)
    (message,) = broker.take("ticks.binance.0")
    assert (message["task"], message["argsrepr"]) == ("candles.ingest", "binance c0ffee:7 · 200 frames")
    (body,) = message["args"]
    tasks.ingest_batch(body)
    (stored,) = ledger.slabs(AT, [Bucket(BTC, past(2))])
    assert len(stored["c0ffee:7"].ids) == 200


def test_new_quotes_ask_for_one_evaluation(broker):
    for number in range(3):
        sent = batch(past(2), count=number + 1)
        tasks.publish_batch(sent)
    for message in broker.take("ticks.binance.0"):
        tasks.ingest_batch(*message["args"])
    (asked,) = broker.take("signals")
    assert asked["task"] == "signals.evaluate"
    assert asked["expires"] is not None


def test_an_unknown_symbol_asks_for_one_sync(broker):
    unknown = tuple(trade.frame() for trade in make(5, ["NEWUSDT"], past(2), 1))
    for number in range(2):
        tasks.publish_batch(FrameBatch(AT, "c", number, 1, unknown, ((5, 1),)))
    for message in broker.take("ticks.binance.0"):
        tasks.ingest_batch(*message["args"])
    assert [(m["task"], m["args"]) for m in broker.take("default")] == [("symbols.sync", [AT])]


def test_an_unreadable_batch_is_counted_and_not_tried_again(broker, redis_state):
    tasks.ingest_batch({"v": 99, "exchange": AT})
    assert sum(map(int, redis_state.hvals(keys.rejected(AT)))) == 1


def test_a_sweep_hands_out_what_is_due_in_portions(broker):
    first = past(251)
    opens = [first + n * BUCKET_MS for n in range(250)]  # the newest ended well before its grace, too
    ledger.mark(AT, [Bucket(BTC, open_ms) for open_ms in opens], now_ms=0)
    tasks.sweep()
    messages = broker.take("candles")
    assert [(m["task"], m["argsrepr"]) for m in messages] == [
        ("candles.close", "binance · 100 buckets"),
        ("candles.close", "binance · 100 buckets"),
        ("candles.close", "binance · 50 buckets"),
    ]
    assert {member for m in messages for member in m["args"][1]} == {Bucket(BTC, o).member for o in opens}
    tasks.sweep()
    assert broker.take("candles") == []


def test_a_sweep_asks_for_forming_bars_only_where_somebody_wants_them(broker, settings):
    for rules in ({}, {"intrabar": "yes"}):
        settings.ALERT_RULES = rules
        tasks.sweep()
        assert broker.take("candles") == []
    settings.ALERT_RULES = {"intrabar": True}
    for _ in range(2):
        tasks.sweep()
    asked = broker.take("candles")
    assert {message["task"] for message in asked} == {"candles.intrabar"}
    assert sorted(message["args"][0] for message in asked) == sorted(registry.slugs())


def test_closing_settles_and_asks_for_indicators(broker, redis_state):
    open_ms = past(2)
    streamed(redis_state, AT, since_ms=open_ms)
    store(AT, BTC, make(20, ["BTCUSDT"], open_ms, 1))
    tasks.sweep()
    (close,) = broker.take("candles")
    tasks.close(*close["args"])
    (wanted,) = broker.take("candles")
    assert (wanted["task"], wanted["argsrepr"]) == ("candles.indicators", "binance · 1 series")
    tasks.compute_indicators(*wanted["args"])
    assert redis_state.exists(keys.indicator(AT, BTC, "5m", "macdv"))
    assert redis_state.zcard(keys.due(AT)) == 0


def test_a_hole_in_the_ids_asks_for_one_repair(broker, redis_state):
    open_ms = past(3)
    made = make(40, ["BTCUSDT"], open_ms, 2)
    store(AT, BTC, [*made[:25], *made[26:]])
    for _ in range(2):
        members = [Bucket(BTC, open_ms).member, Bucket(BTC, open_ms + BUCKET_MS).member]
        tasks.close(AT, members, now_ms())
    (wanted,) = broker.take("backfill.binance")
    assert wanted["task"] == "candles.repair"
    assert wanted["args"][:4] == [AT, BTC, open_ms, open_ms + 2 * BUCKET_MS]


def test_a_reported_gap_is_written_down_and_its_repair_waits_until_it_is_over(broker):
    open_ms = past(0)
    names = tuple(f"SYMBOL{n}-USDT" for n in range(500))
    tasks.report_gap(Gap(AT, open_ms * 1_000_000, (now_ms() + 5_000) * 1_000_000, Cause.DISCONNECT, names, "c0ffee"))
    (reported,) = broker.take("candles")
    assert reported["argsrepr"] == "binance disconnect c0ffee · 500 symbols"
    tasks.note_gap(*reported["args"])
    assert GapRow.objects.count() == 500
    asked = broker.take("backfill.binance")
    assert {m["task"] for m in asked} == {"candles.repair"}
    assert len(asked) == 500


def test_a_started_stream_asks_for_each_symbols_history(broker):
    tasks.stream_started(AT, [BTC, "ETH-USDT"])
    asked = [(m["task"], m["args"]) for m in broker.take("backfill.binance")]
    assert asked == [("candles.load_history", [AT, BTC]), ("candles.load_history", [AT, "ETH-USDT"])]


def test_a_long_repair_goes_on_in_another_task(broker, settings):
    with http_server(lambda asked: Answer([])) as server:
        settings.EXCHANGE_ENDPOINTS = {AT: {"rest": server.url, "ws": "ws://127.0.0.1:9"}}
        from_ms, to_ms = past(20), past(1)
        tasks.repair_gap(AT, BTC, from_ms, to_ms, 0)
        steps = 1
        while asked := broker.take("backfill.binance"):
            assert asked[0]["args"][2:4] == [from_ms, to_ms]
            tasks.repair_gap(*asked[0]["args"])
            steps += 1
    assert steps == 4


@pytest.mark.parametrize("task", ["repair_gap", "load_history"])
def test_a_venue_that_refuses_for_good_is_logged_in_one_line(broker, settings, caplog, task):
    arguments = {"repair_gap": (AT, BTC, past(3), past(2), 0), "load_history": (AT, BTC)}[task]
    with http_server(lambda asked: Answer({"msg": "restricted location"}, 451)) as server:
        settings.EXCHANGE_ENDPOINTS = {AT: {"rest": server.url, "ws": "ws://127.0.0.1:9"}}
        with caplog.at_level(logging.WARNING):
            getattr(tasks, task)(*arguments)
    (line,) = caplog.records
    assert line.message in ("repair.refused", "history.refused")
    assert line.exc_info is None
    assert broker.take("candles") == []


def test_a_venue_in_passing_trouble_is_tried_again(broker, settings):
    with http_server(lambda asked: Answer({"msg": "?"}, 503)) as server:
        settings.EXCHANGE_ENDPOINTS = {AT: {"rest": server.url, "ws": "ws://127.0.0.1:9"}}
        with pytest.raises(VenueUnavailable):  # called directly; a worker tries again
            tasks.load_history(AT, BTC)
    assert VenueUnavailable.__mro__[1] in tasks.load_history.autoretry_for
