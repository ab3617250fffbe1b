"""Candles go into the table and the window: monotone, repeatable, exact, whoever writes at the same time."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from candles import window
from candles.models import Candle as CandleRow
from candles.services.record import Closed, record
from livermore.core import keys
from livermore.core.candle import Candle, Quality, Reason, Source, Timeframe
from livermore.core.errors import StoreUnavailable
from tests.support import builders
from tests.support.stack import stack

OPEN_MS = 1_770_000_000_000
FIVE = Timeframe.M5


@pytest.fixture
def toy(db, redis_state):
    at = builders.exchange("toy")
    for name in ("BTC-USDT", "ETH-USDT"):
        builders.symbol(at, name, tier=1)
    return redis_state


def candle(price: str = "10", **fields) -> Candle:
    given = dict.fromkeys(("open", "high", "low", "close"), Decimal(price))
    given |= {"volume": Decimal(3), "turnover": Decimal(30), "taker_buy_volume": Decimal(1), "trades": 3}
    given |= {"quality": Quality.CLEAN} | fields
    return Candle("toy", "BTC-USDT", given.pop("timeframe", FIVE), given.pop("open_ms", OPEN_MS), **given)


def stored() -> Candle:
    return CandleRow.objects.get().value("toy", "BTC-USDT")


def shown() -> Candle:
    (member,) = window.newest("toy", "BTC-USDT", FIVE, 10)
    return member


def test_a_candle_is_stored_shown_and_told(toy):
    listener = toy.pubsub(ignore_subscribe_messages=True)
    listener.subscribe(keys.channel_closed("toy", "BTC-USDT", "5m"))
    listener.get_message(timeout=1)
    assert record([Closed(candle(), 3)]) == [candle()] == [stored()] == [shown()]
    assert json.loads(listener.get_message(timeout=2)["data"]) == json.loads(candle().to_json())
    listener.close()


def test_repeating_changes_nothing(toy):
    record([Closed(candle(), 3)])
    before = CandleRow.objects.values().get()
    assert record([Closed(candle(), 3)]) == [candle()]
    assert CandleRow.objects.values().get() == before
    assert shown() == candle()


@pytest.fixture
def told(toy):
    """A function that gives the (revision, quality) told since it was called last."""
    listener = toy.pubsub(ignore_subscribe_messages=True)
    listener.subscribe(keys.channel_closed("toy", "BTC-USDT", "5m"))
    listener.get_message(timeout=1)

    def heard() -> list[tuple[int, str]]:
        found = []
        while message := listener.get_message(timeout=0.1):
            public = json.loads(message["data"])
            found.append((public["revision"], public["quality"]))
        return found

    yield heard
    listener.close()


def test_only_what_changed_is_told(told):
    for _ in range(3):
        record([Closed(candle(), 3)])
    assert told() == [(0, "clean")]
    record([Closed(candle("9", trades=2), 2)])  # says less
    record([Closed(candle(), 3, 2)])  # confirmed by REST: nothing public changes
    assert told() == []
    record([Closed(candle(quality=Quality.PROVEN), 3, 3)])
    record([Closed(candle("11", trades=4), 4)])
    assert told() == [(0, "proven"), (1, "clean")]


def test_history_is_not_told_and_does_not_become_news(told):
    record([Closed(candle(), 3)], tell=False)
    record([Closed(candle(), 3)])
    assert told() == []


def test_a_candle_older_than_the_window_is_told_once(told):
    record([Closed(candle(open_ms=OPEN_MS + n * FIVE.ms), 3) for n in range(1, window.KEPT + 1)], tell=False)
    for _ in range(2):
        record([Closed(candle(), 3)])
    assert told() == [(0, "clean")]
    record([Closed(candle("11", trades=4), 4)])
    assert told() == [(1, "clean")]


def test_what_could_not_be_told_is_taken_back_and_told_with_the_repeat(told, settings):
    answering, settings.STATE_REDIS_URL = settings.STATE_REDIS_URL, "redis://127.0.0.1:1/0"
    with pytest.raises(StoreUnavailable):
        record([Closed(candle(), 3)])
    assert not CandleRow.objects.exists()
    settings.STATE_REDIS_URL = answering
    record([Closed(candle(), 3)])
    assert told() == [(0, "clean")]


def test_a_crash_after_the_telling_loses_nothing_and_is_not_told_again(told):
    """The window has it, the row was not committed."""
    with transaction.atomic():
        record([Closed(candle(), 3)])
        transaction.set_rollback(True)
    assert not CandleRow.objects.exists()
    assert record([Closed(candle(), 3)]) == [stored()] == [shown()]
    assert told() == [(0, "clean")]


def test_a_version_that_says_less_changes_nothing_and_the_better_one_is_returned(toy):
    record([Closed(candle("10", trades=3), 3)])
    assert record([Closed(candle("9", trades=2), 2)]) == [candle("10", trades=3)]
    assert shown() == stored() == candle("10", trades=3)


def test_more_trades_raise_the_revision(toy):
    record([Closed(candle("10", trades=3), 3)])
    revised = candle("11", trades=4, revision=1)
    assert record([Closed(candle("11", trades=4), 4)]) == [revised] == [stored()] == [shown()]


def test_the_same_count_confirmed_by_rest_wins(toy):
    record([Closed(candle("10"), 3, 0)])
    assert record([Closed(candle("11"), 3, 3)]) == [candle("11", revision=1)]
    assert record([Closed(candle("10"), 3, 0)]) == [candle("11", revision=1)]


def test_a_better_quality_alone_is_no_revision(toy):
    record([Closed(candle(), 3)])
    proven = candle(quality=Quality.PROVEN)
    assert record([Closed(proven, 3)]) == [proven] == [stored()] == [shown()]
    assert record([Closed(candle(), 3)]) == [proven]


def test_sources_are_trusted_in_their_order(toy):
    """What we folded with gaps < the venue's candle < what we folded without < an adopted candle."""
    gapped = candle("1", trades=900, quality=Quality.GAPPED)
    venue = candle("2", trades=None, taker_buy_volume=None, source=Source.REST, quality=Quality.PROVEN)
    clean = candle("3", trades=2)
    adopted = candle("4", source=Source.ADOPTED, quality=Quality.PROVEN)
    versions = [Closed(gapped, 900), Closed(venue, 0), Closed(clean, 2), Closed(adopted, 0)]
    for revision, version in enumerate(versions):
        assert record([version]) == [replace(version.candle, revision=revision)]
    for version in versions:
        assert record([version]) == [replace(adopted, revision=3)] == [shown()]


def test_a_clean_fold_keeps_the_venues_late_candle_out(toy):
    record([Closed(candle("3"), 3)])
    assert record([Closed(candle("2", source=Source.REST, quality=Quality.PROVEN), 0)]) == [candle("3")]


def test_unknown_sums_are_compared_too(toy):
    unknown = candle(turnover=None, taker_buy_volume=None, trades=None, source=Source.REST)
    record([Closed(unknown, 0)])
    assert record([Closed(replace(unknown, quality=Quality.PROVEN), 0)]) == [replace(unknown, quality=Quality.PROVEN)]
    assert record([Closed(candle(), 3)]) == [candle(revision=1)]


def test_an_unknown_symbol_is_left_out_and_the_others_are_stored(toy):
    unknown = replace(candle(), symbol="NEW-USDT")
    assert record([Closed(unknown, 3), Closed(candle(), 3)]) == [candle()]
    assert record([Closed(unknown, 3)]) == []
    assert CandleRow.objects.count() == 1


def test_nothing_is_recorded_without_a_query(toy, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert record([]) == []


def test_a_traded_name_wins_over_the_same_name_delisted(toy):
    at = CandleRow._meta.get_field("symbol").related_model.objects.get(name="BTC-USDT").exchange
    builders.symbol(at, "BTC-USDT", native="BTCUSDT-OLD", is_trading=False)
    record([Closed(candle(), 3)])
    assert CandleRow.objects.get().symbol.native == "BTCUSDT"


@pytest.mark.parametrize("price", ["0.00000000123", "1000000000000000", "64000.1", "0.000000000000000001"])
def test_exact_decimals_survive_table_and_window(toy, price):
    exact = candle(price, volume=Decimal("1e15"), turnover=Decimal(price) * 10**15)
    record([Closed(exact, 3)])
    (member,) = toy.zrange(keys.candles("toy", "BTC-USDT", FIVE), 0, -1)
    public = json.loads(member)
    assert (public["open"], public["volume"]) == (price, "1000000000000000")
    assert Candle.from_json(member) == stored() == exact


def test_a_synthetic_candle_keeps_its_reason(toy):
    flat = candle(volume=Decimal(0), trades=0, quality=Quality.GAPPED, reason=Reason.OUTAGE)
    assert record([Closed(flat, 0)]) == [flat] == [stored()] == [shown()]


def test_distant_candles_of_one_call_are_read_by_key(toy):
    """A day between two candles must not load the day."""
    day = [candle(open_ms=OPEN_MS + n * FIVE.ms) for n in range(288)]
    record([Closed(c, 3) for c in day], tell=False)
    with CaptureQueriesContext(connection) as queries:
        both = record([Closed(day[0], 3), Closed(day[-1], 3)])
    assert sorted(c.open_ms for c in both) == [day[0].open_ms, day[-1].open_ms]
    (reading,) = [q["sql"] for q in queries if "wanted" in q["sql"]]
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            plan = " ".join(row[-1] for row in cursor.execute(f"EXPLAIN QUERY PLAN {reading}").fetchall())
            assert "SCAN candles" not in plan


WRITERS = """
import json, random, threading
from decimal import Decimal
from django.db import connection
from candles.services.record import Closed, record
from tests.candles.test_record import FIVE, OPEN_MS, ROUNDS, SERIES, candle
def write(seed):
    draw = random.Random(seed)
    for _ in range(ROUNDS):
        versions = [draw.randrange(1, 10_000) for _ in range(SERIES)]
        record([
            Closed(candle(str(v), trades=v, open_ms=OPEN_MS + n * FIVE.ms), v) for n, v in enumerate(versions)
        ])
        written.append(versions)
    connection.close()
written = []
threads = [threading.Thread(target=write, args=(f"{SEED}|{n}",)) for n in range(THREADS)]
for thread in threads: thread.start()
for thread in threads: thread.join()
best = [max(column) for column in zip(*written)]
"""
PROCESSES, THREADS, ROUNDS, SERIES = 5, 10, 20, 10


@pytest.mark.slow
def test_fifty_writers_at_once_lose_nothing(tmp_path):
    """Every candle ends as the best version anybody wrote, and no reader ever misses one."""
    with stack(tmp_path) as running:
        running.python(
            "from tests.support import builders\n"
            "builders.symbol(builders.exchange('toy'), 'BTC-USDT', tier=1)\nprint(1)"
        )
        results = [tmp_path / f"{n}.json" for n in range(PROCESSES)]
        writers = []
        for n, result in enumerate(results):
            source = f"SEED, THREADS = {n}, {THREADS}\n{WRITERS}\nopen({str(result)!r}, 'w').write(json.dumps(best))"
            writers.append(running.start(f"writer{n}", "manage.py", "shell", "--no-imports", "-c", source))
        key = keys.candles("toy", "BTC-USDT", FIVE)
        seen: dict[int, Candle] = {}
        samples = 0
        while not all(result.exists() and result.read_text() for result in results):
            assert all(process.poll() in (None, 0) for process in writers), running.log("writer0")
            members = running.state.zrange(key, 0, -1, withscores=True)
            candles = {int(score): Candle.from_json(member) for member, score in members}
            assert len(candles) == len(members)  # one member per open
            assert set(seen) <= set(candles)  # none is ever missing
            for open_ms, found in candles.items():
                assert open_ms % FIVE.ms == 0
                assert open_ms == found.open_ms
                before = seen.get(open_ms)
                if before is not None:
                    assert (before.revision, before.trades) <= (found.revision, found.trades)  # none goes back
            seen = candles
            samples += 1
        assert samples > 10
        best = [max(column) for column in zip(*(json.loads(r.read_text()) for r in results), strict=True)]
        final = [Candle.from_json(member) for member in running.state.zrange(key, 0, -1)]
        assert [c.trades for c in final] == best
        assert [c.close for c in final] == [Decimal(b) for b in best]
        rows = running.python(
            "import json\nfrom candles.models import Candle\n"
            "print(json.dumps([c.value('toy', 'BTC-USDT').to_json() for c in Candle.objects.order_by('open_ms')]))"
        )
        assert [Candle.from_json(row) for row in rows] == final
        print(f"{PROCESSES * THREADS} writers, {PROCESSES * THREADS * ROUNDS * SERIES} writes, {samples} samples")
