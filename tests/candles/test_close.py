"""From slabs in a real Redis to candles in the table, the window and the channels."""

from __future__ import annotations

import json
import logging
from decimal import Decimal

import pytest

from candles import ledger, slab, window
from candles.ledger import GRACE_MS, Bucket
from candles.models import Candle as CandleRow
from candles.models import Gap
from candles.services import repair
from candles.services.close import ASK_AGAIN_MS, close
from candles.services.quality import scores
from candles.services.record import Closed, record
from livermore.core import keys
from livermore.core.candle import Candle, Quality, Reason, Source, Timeframe
from livermore.core.gap import Cause
from symbols.models import ExchangeSymbol
from tests.candles.streaming import now_ms, past, store, streamed
from tests.support.trades import BUCKET_MS, Made, make, truth

pytestmark = pytest.mark.django_db
AT, BTC = "binance", "BTC-USDT"
SUMS = ("open", "high", "low", "close", "volume", "turnover", "taker_buy_volume", "trades")


@pytest.fixture(autouse=True)
def _listed(redis_state):
    for base in ("BTC", "ETH"):
        ExchangeSymbol(exchange_id=AT, native=f"{base}USDT", base=base, quote="USDT", tier=1).save()


@pytest.fixture
def first_ms():
    return past(4)


@pytest.fixture
def listening(redis_state, first_ms):
    """The stream has run since long before."""
    streamed(redis_state, AT, since_ms=first_ms - BUCKET_MS)


@pytest.fixture
def heard(redis_state):
    """A function that gives the opens of the candles of a timeframe told since it was called last."""
    listeners = {str(timeframe): redis_state.pubsub(ignore_subscribe_messages=True) for timeframe in Timeframe}
    for timeframe, listener in listeners.items():
        listener.subscribe(keys.channel_closed(AT, BTC, timeframe))
        listener.get_message(timeout=1)

    def opens(timeframe: str) -> list[int]:
        found = []
        while message := listeners[timeframe].get_message(timeout=0.1):
            found.append(json.loads(message["data"])["open_time"])
        return found

    yield opens
    for listener in listeners.values():
        listener.close()


def buckets(first_ms: int, count: int, symbol: str = BTC) -> list[Bucket]:
    return [Bucket(symbol, first_ms + n * BUCKET_MS) for n in range(count)]


def trades(first_ms: int, count: int = 4) -> list[Made]:
    """50 trades in each of so many buckets, ids without holes."""
    return make(50 * count, ["BTCUSDT"], first_ms, count)


def sums(candle: Candle) -> dict:
    return {name: getattr(candle, name) for name in SUMS}


def qualities(candles: list[Candle], timeframe: Timeframe = Timeframe.M5) -> list[str]:
    return [str(c.quality) for c in sorted(candles, key=lambda c: c.open_ms) if c.timeframe is timeframe]


def before(first_ms: int, price: str = "99", symbol: str = BTC) -> None:
    """A known candle just before, from trades."""
    flat = dict.fromkeys(("open", "high", "low", "close"), Decimal(price))
    record([Closed(Candle(AT, symbol, Timeframe.M5, first_ms - BUCKET_MS, **flat, volume=Decimal(1), trades=1), 1)])


# ---- the way of a bucket -----------------------------------------------------------------------


def test_trades_become_a_candle_that_is_told_and_settled(redis_state, listening, first_ms):
    made = trades(first_ms, 1)
    store(AT, BTC, made)
    listener = redis_state.pubsub(ignore_subscribe_messages=True)
    listener.subscribe(keys.channel_closed(AT, BTC, "5m"))
    listener.get_message(timeout=1)
    now = now_ms()
    claimed = ledger.claim(AT, now, 10)
    assert claimed == buckets(first_ms, 1)
    (candle,) = close(AT, claimed).candles
    assert sums(candle) == truth(made)["BTCUSDT", first_ms]
    assert json.loads(listener.get_message(timeout=2)["data"]) == json.loads(candle.to_json())
    assert window.newest(AT, BTC, Timeframe.M5, 5) == [candle]
    assert ledger.settle(AT, claimed, ledger.lease(now)) == 1
    listener.close()


def test_closing_twice_is_harmless(listening, first_ms):
    store(AT, BTC, trades(first_ms, 1))
    once, again = (close(AT, buckets(first_ms, 1)).candles for _ in range(2))
    assert once == again
    assert CandleRow.objects.count() == 1


def test_only_the_first_closing_is_told(heard, listening, first_ms):
    store(AT, BTC, trades(first_ms, 2))
    for _ in range(3):
        close(AT, buckets(first_ms, 2))
    assert heard("5m") == [first_ms, first_ms + BUCKET_MS]


def test_a_snapshot_of_old_trades_closes_nothing_again(redis_state, heard, listening, first_ms):
    """A venue repeats its last trades after each subscription, here twice and after the slabs are gone."""
    made = trades(first_ms, 2)
    store(AT, BTC, made)
    close(AT, buckets(first_ms, 2))
    assert heard("5m") == [first_ms, first_ms + BUCKET_MS]
    for n in range(2):
        redis_state.delete(*(keys.trades(AT, BTC, bucket.open_ms) for bucket in buckets(first_ms, 2)))
        store(AT, BTC, made[20:70], f"snapshot:{n}")
        due = ledger.claim(AT, now_ms() + ledger.LEASE_MS, 10)
        assert due == buckets(first_ms, 2)
        close(AT, due)
    assert heard("5m") == []


def test_a_crash_before_the_larger_candle_is_made_up_for_by_the_repeat(redis_state, heard):
    open_ms = quarter()
    streamed(redis_state, AT, since_ms=open_ms)
    store(AT, BTC, trades(open_ms, 3))
    close(AT, buckets(open_ms, 3))
    CandleRow.objects.filter(timeframe="15m").delete()  # as if it had ended in between
    redis_state.delete(keys.candles(AT, BTC, "15m"))
    assert (heard("5m"), heard("15m")) == ([open_ms + n * BUCKET_MS for n in range(3)], [open_ms])
    close(AT, buckets(open_ms, 3))
    assert (heard("5m"), heard("15m")) == ([], [open_ms])


def test_a_late_trade_makes_the_bucket_due_and_revises_the_candle(redis_state, listening, first_ms):
    made = trades(first_ms, 1)
    store(AT, BTC, made[:-1])
    now = now_ms()
    claimed = ledger.claim(AT, now, 10)
    (early,) = close(AT, claimed).candles
    store(AT, BTC, made[-1:], "c:1")
    assert ledger.settle(AT, claimed, ledger.lease(now)) == 0
    listener = redis_state.pubsub(ignore_subscribe_messages=True)
    listener.subscribe(keys.channel_closed(AT, BTC, "5m"))
    listener.get_message(timeout=1)
    (late,) = close(AT, ledger.claim(AT, now_ms(), 10)).candles
    assert (early.trades, early.revision, late.trades, late.revision) == (49, 0, 50, 1)
    assert json.loads(listener.get_message(timeout=2)["data"])["revision"] == 1
    listener.close()


def test_a_refold_after_the_slabs_are_gone_changes_nothing(redis_state, listening, first_ms):
    made = trades(first_ms, 1)
    store(AT, BTC, made)
    (whole,) = close(AT, buckets(first_ms, 1)).candles
    redis_state.delete(keys.trades(AT, BTC, first_ms))
    store(AT, BTC, [made[7]], "late:0")
    assert close(AT, buckets(first_ms, 1)).candles == [whole]


def test_nothing_to_close_is_nothing():
    assert close(AT, []).candles == []


def test_the_venues_cut_of_each_trade_is_followed(listening, first_ms):
    ExchangeSymbol.objects.filter(name=BTC).update(quote_precision=2)
    one = Made("BTCUSDT", 1, first_ms, "100.01", "0.0199", True)  # 1.990199 in quote
    store(AT, BTC, [one, Made("BTCUSDT", 2, first_ms + 1, "100.01", "0.0199", True)])
    store(AT, "ETH-USDT", [one])
    by_name = {c.symbol: c for c in close(AT, [*buckets(first_ms, 1), *buckets(first_ms, 1, "ETH-USDT")]).candles}
    assert by_name[BTC].turnover == Decimal("3.98")
    assert by_name["ETH-USDT"].turnover == Decimal("1.990199")


# ---- silence -----------------------------------------------------------------------------------


def test_a_silent_symbol_closes_flat_at_the_previous_close(listening, first_ms):
    before(first_ms)
    (flat,) = close(AT, buckets(first_ms, 1)).candles
    assert {flat.open, flat.high, flat.low, flat.close} == {Decimal(99)}
    assert (flat.volume, flat.turnover, flat.trades, flat.taker_buy_volume) == (0, 0, 0, 0)
    assert (flat.quality, flat.reason, flat.is_synthetic) == (Quality.EMPTY, Reason.NO_TRADES, True)


def test_silence_goes_on_through_a_call(listening, first_ms):
    store(AT, BTC, trades(first_ms, 1))
    candles = close(AT, buckets(first_ms, 3)).candles
    fives = sorted((c for c in candles if c.timeframe is Timeframe.M5), key=lambda c: c.open_ms)
    assert [c.is_synthetic for c in fives] == [False, True, True]
    assert {c.open for c in fives[1:]} == {fives[0].close}


@pytest.mark.parametrize("state", [{"since_ms": 0}, {"since_ms": 1, "heard_ms": 1}])
def test_silence_while_nobody_listened_is_an_outage(redis_state, first_ms, state):
    streamed(redis_state, AT, **state)
    before(first_ms)
    (flat,) = close(AT, buckets(first_ms, 1)).candles
    assert (flat.quality, flat.reason) == (Quality.GAPPED, Reason.OUTAGE)


def test_an_open_gap_makes_an_outage_until_it_is_closed(listening, first_ms):
    before(first_ms)
    from_ns = first_ms * 1_000_000
    gap = Gap.objects.create(exchange_id=AT, symbol=BTC, from_ns=from_ns, to_ns=from_ns + 9, cause=Cause.DISCONNECT)
    assert qualities(close(AT, buckets(first_ms, 1)).candles) == ["gapped"]
    Gap.objects.filter(pk=gap.pk).update(closed_at="2026-01-01T00:00Z")
    (flat,) = close(AT, buckets(first_ms, 1)).candles
    assert (flat.quality, flat.reason) == (Quality.EMPTY, Reason.NO_TRADES)


def test_another_symbols_gap_or_one_elsewhere_in_time_is_no_matter(listening, first_ms):
    store(AT, BTC, trades(first_ms, 1))
    ns = first_ms * 1_000_000
    for symbol, from_ns, to_ns in (("ETH-USDT", ns, ns + 1), (BTC, ns - 5, ns), (BTC, ns + BUCKET_MS * 10**6, ns * 2)):
        Gap.objects.create(exchange_id=AT, symbol=symbol, from_ns=from_ns, to_ns=to_ns, cause=Cause.DISCONNECT)
    assert qualities(close(AT, buckets(first_ms, 1)).candles) == ["clean"]


def test_nothing_is_made_up_without_a_known_price(listening, first_ms):
    assert close(AT, buckets(first_ms, 2)).candles == []


def test_a_bucket_closed_before_the_host_spoke_is_judged_again_when_it_has(redis_state, first_ms, monkeypatch):
    monkeypatch.setattr("candles.services.close.UNHEARD_MS", 3_600_000)
    streamed(redis_state, AT, since_ms=first_ms, heard_ms=first_ms + BUCKET_MS - 1)
    store(AT, BTC, trades(first_ms, 1))
    now = now_ms()
    claimed = ledger.claim(AT, now, 10)
    assert qualities(close(AT, claimed).candles) == ["gapped"]
    ledger.settle(AT, claimed, ledger.lease(now))
    assert ledger.claim(AT, now, 10) == []
    streamed(redis_state, AT, since_ms=first_ms)
    due = ledger.claim(AT, now_ms() + ASK_AGAIN_MS, 10)
    assert due == claimed
    assert qualities(close(AT, due).candles) == ["clean"]


def test_a_host_that_went_silent_long_ago_is_not_waited_for(redis_state, first_ms):
    streamed(redis_state, AT, since_ms=first_ms, heard_ms=first_ms + BUCKET_MS - 1)
    store(AT, BTC, trades(first_ms, 1))
    now = now_ms()
    claimed = ledger.claim(AT, now, 10)
    close(AT, claimed)
    assert ledger.settle(AT, claimed, ledger.lease(now)) == 1


# ---- what ids prove ----------------------------------------------------------------------------


def test_ids_that_join_prove_the_inner_buckets(first_ms):
    """Even with nobody known to have listened; the outer two have a neighbour that was never seen."""
    store(AT, BTC, trades(first_ms))
    assert qualities(close(AT, buckets(first_ms, 4)).candles) == ["gapped", "proven", "proven", "gapped"]


def test_an_earlier_bucket_is_proven_once_its_right_border_is_known(listening, first_ms):
    made = trades(first_ms, 3)
    store(AT, BTC, made[:50])
    close(AT, buckets(first_ms, 1))
    second = [t for t in made if first_ms + BUCKET_MS <= t.time_ms < first_ms + 2 * BUCKET_MS]
    store(AT, BTC, second, "c:1")
    assert qualities(close(AT, buckets(first_ms, 2)[1:]).candles) == ["clean"]
    store(AT, BTC, made[100:], "c:2")
    now = now_ms()
    ledger.claim(AT, now, 10)
    assert qualities(close(AT, buckets(first_ms, 3)[2:]).candles) == ["clean"]
    upgraded = ledger.claim(AT, now_ms(), 10)
    assert upgraded == [Bucket(BTC, first_ms + BUCKET_MS)]
    proven = min(close(AT, upgraded).candles, key=lambda c: c.timeframe.ms)
    assert (proven.quality, proven.revision) == (Quality.PROVEN, 0)


def test_a_quiet_bucket_between_joining_ids_is_proven_quiet(first_ms):
    """Nobody is known to have listened; the ids say that nothing happened."""
    made = make(100, ["BTCUSDT"], first_ms, 2)
    later = [Made(t.native, t.id, t.time_ms + BUCKET_MS, t.price, t.quantity, t.is_buy) for t in made[50:]]
    store(AT, BTC, [*made[:50], *later])
    close(AT, buckets(first_ms, 3))
    close(AT, buckets(first_ms, 3))  # both borders of the quiet one are known now
    quiet = window.between(AT, BTC, Timeframe.M5, first_ms + BUCKET_MS, first_ms + 2 * BUCKET_MS)[0]
    assert (quiet.quality, quiet.reason) == (Quality.EMPTY, Reason.NO_TRADES)


def test_an_outage_does_not_prove_the_bucket_before_it(redis_state, first_ms):
    """The host died within the second bucket; the empty one after it knows no more ids than that one has."""
    streamed(redis_state, AT, since_ms=0)
    store(AT, BTC, trades(first_ms, 4)[:90])
    for _ in range(3):
        done = close(AT, buckets(first_ms, 3))
    assert qualities(done.candles) == ["gapped", "gapped", "gapped"]


def test_what_rest_gave_whole_tells_that_the_bucket_before_lacks_its_end(listening, first_ms):
    made, holes = trades(first_ms, 2), []
    for part, field in ((made[:40], "c:0"), (made[50:], "rest:1-2"), ((), "")):
        store(AT, BTC, part, field)
        now = now_ms()
        due = ledger.claim(AT, now, 10)
        holes.append(close(AT, due).holes)
        ledger.settle(AT, due, ledger.lease(now))
    assert holes == [[], [], buckets(first_ms, 1)]


def test_a_hole_in_the_ids_is_gapped_and_wants_one_repair(listening, first_ms):
    made = trades(first_ms, 3)
    store(AT, BTC, [t for t in made if t.id != made[70].id])
    done = close(AT, buckets(first_ms, 3))
    assert qualities(done.candles) == ["clean", "gapped", "clean"]
    assert done.holes == [Bucket(BTC, first_ms + BUCKET_MS)]
    (wanted,) = repair.note_holes(AT, done.holes)
    assert (wanted.symbol, wanted.from_ms, wanted.to_ms) == (BTC, first_ms, first_ms + 2 * BUCKET_MS)
    assert repair.note_holes(AT, close(AT, buckets(first_ms, 3)).holes) == []
    store(AT, BTC, made[70:71], "rest:1-2")
    mended = close(AT, buckets(first_ms, 3))
    assert mended.holes == []
    assert qualities(mended.candles) == ["clean", "proven", "clean"]


def test_a_hole_at_a_border_is_a_hole_of_the_bucket_that_follows_it(listening, first_ms):
    made = trades(first_ms, 2)
    store(AT, BTC, [t for t in made if t.id != made[50].id])
    assert close(AT, buckets(first_ms, 2)).holes == [Bucket(BTC, first_ms + BUCKET_MS)]


def test_old_trades_of_a_snapshot_do_not_make_a_whole_candle(redis_state, first_ms):
    """A venue repeats its last trades after a subscription; nobody listened when they happened."""
    streamed(redis_state, AT, since_ms=first_ms + 3 * BUCKET_MS)
    flat = dict.fromkeys(("open", "high", "low", "close"), Decimal(5))
    told = {"volume": Decimal(7), "source": Source.REST, "quality": Quality.PROVEN}
    venue = Candle(AT, BTC, Timeframe.M5, first_ms, **flat, **told)
    record([Closed(venue, 0)])
    store(AT, BTC, trades(first_ms, 2)[-60:])
    assert qualities(close(AT, buckets(first_ms, 2)).candles) == ["proven", "gapped"]
    assert window.between(AT, BTC, Timeframe.M5, first_ms, first_ms + 1) == [venue]


def test_a_bucket_before_a_reconnect_is_clean_when_its_neighbour_was(redis_state, first_ms):
    streamed(redis_state, AT, since_ms=first_ms + 3 * BUCKET_MS)
    before(first_ms)
    store(AT, BTC, trades(first_ms, 1))
    assert qualities(close(AT, buckets(first_ms, 1)).candles) == ["clean"]


# ---- larger candles ----------------------------------------------------------------------------


def quarter() -> int:
    return past(4, aligned_ms=3 * BUCKET_MS)


def test_three_buckets_make_the_quarter_hour(redis_state):
    open_ms = quarter()
    streamed(redis_state, AT, since_ms=open_ms)
    made = trades(open_ms, 3)
    store(AT, BTC, made)
    assert qualities(close(AT, buckets(open_ms, 2)).candles, Timeframe.M15) == []
    candles = close(AT, buckets(open_ms, 3)[2:]).candles
    (whole,) = [c for c in candles if c.timeframe is Timeframe.M15]
    parts = window.between(AT, BTC, Timeframe.M5, open_ms, open_ms + 3 * BUCKET_MS)
    assert sums(whole) == {
        "open": parts[0].open, "high": max(p.high for p in parts), "low": min(p.low for p in parts),
        "close": parts[2].close, "volume": sum(p.volume for p in parts), "turnover": sum(p.turnover for p in parts),
        "taker_buy_volume": sum(p.taker_buy_volume for p in parts), "trades": 150,
    }  # fmt: skip
    assert (whole.quality, whole.source, whole.open_ms) == (Quality.CLEAN, Source.TRADES, open_ms)


def test_a_missing_child_holds_the_larger_candle_back(redis_state):
    open_ms = quarter()
    streamed(redis_state, AT, since_ms=open_ms)
    store(AT, BTC, trades(open_ms, 3))
    first, second, third = buckets(open_ms, 3)
    assert qualities(close(AT, [first, third]).candles, Timeframe.M15) == []
    assert qualities(close(AT, [second]).candles, Timeframe.M15) == ["clean"]


def test_a_revised_child_revises_the_larger_candle(redis_state):
    open_ms = quarter()
    streamed(redis_state, AT, since_ms=open_ms)
    made = trades(open_ms, 3)
    store(AT, BTC, made[:-1])
    close(AT, buckets(open_ms, 3))
    store(AT, BTC, made[-1:], "c:1")
    revised = {c.timeframe: c for c in close(AT, buckets(open_ms, 3)[2:]).candles}
    assert (revised[Timeframe.M15].trades, revised[Timeframe.M15].revision) == (150, 1)
    assert revised[Timeframe.M15].close == revised[Timeframe.M5].close


def test_children_without_a_count_still_make_a_larger_candle(redis_state):
    open_ms = quarter()
    flat = dict.fromkeys(("open", "high", "low", "close"), Decimal(5))
    for n in range(2):
        at_ms = open_ms + n * BUCKET_MS
        venue = Candle(AT, BTC, Timeframe.M5, at_ms, **flat, volume=Decimal(7), source=Source.REST)
        record([Closed(venue, 0)])
    streamed(redis_state, AT, since_ms=open_ms)
    store(AT, BTC, trades(open_ms, 3)[100:])
    (whole,) = [c for c in close(AT, buckets(open_ms, 3)[2:]).candles if c.timeframe is Timeframe.M15]
    assert (whole.trades, whole.turnover, whole.source) == (None, None, Source.REST)


# ---- nonsense ----------------------------------------------------------------------------------


def nonsense(price: str, open_ms: int) -> bytes:
    made = Made("BTCUSDT", 1, open_ms, price, "1", True)
    columns = slab.Slab(1, [made.id], [1], [made.time_ms * 1_000_000], [made.price], ["1"], [True])
    return slab.encode(columns)


@pytest.mark.parametrize("price", ["NaN", "-1", "1e400", "abc", "0"])
def test_a_slab_of_nonsense_is_counted_and_stops_nothing(redis_state, listening, first_ms, caplog, price):
    store(AT, BTC, trades(first_ms, 1))
    store(AT, "ETH-USDT", trades(first_ms, 1))
    redis_state.hset(keys.trades(AT, BTC, first_ms), "bad:0", nonsense(price, first_ms))
    with caplog.at_level(logging.ERROR):
        done = close(AT, [*buckets(first_ms, 1), *buckets(first_ms, 1, "ETH-USDT")])
    assert {c.symbol: (c.trades, str(c.quality)) for c in done.candles} == {
        BTC: (50, "gapped"), "ETH-USDT": (50, "clean"),
    }  # fmt: skip
    assert sum(map(int, redis_state.hvals(keys.rejected(AT)))) == 1
    assert [record.message for record in caplog.records] == ["slab.rejected"]


@pytest.mark.parametrize("stored", [b"", b"\x00nonsense", b"\x01nonsense", b"\x00\x97\x01"])
def test_a_slab_that_cannot_be_read_stops_nothing_and_does_not_come_back(redis_state, listening, first_ms, stored):
    store(AT, BTC, trades(first_ms, 1))
    redis_state.hset(keys.trades(AT, BTC, first_ms), "bad:0", stored)
    redis_state.hset(keys.trades(AT, BTC, first_ms + BUCKET_MS), "bad:0", stored)  # looked into for the border
    now = now_ms()
    claimed = ledger.claim(AT, now, 10)
    (candle,) = close(AT, claimed).candles
    assert (candle.trades, candle.quality) == (50, Quality.GAPPED)
    ledger.settle(AT, claimed, ledger.lease(now))
    assert ledger.claim(AT, now + GRACE_MS, 10) == []


def test_a_bucket_of_nothing_but_nonsense_is_an_outage(redis_state, listening, first_ms):
    before(first_ms)
    redis_state.hset(keys.trades(AT, BTC, first_ms), "bad:0", nonsense("NaN", first_ms))
    (flat,) = close(AT, buckets(first_ms, 1)).candles
    assert (flat.quality, flat.reason) == (Quality.GAPPED, Reason.OUTAGE)


def test_the_score_tells_exactly_what_the_stream_repeated(listening, first_ms):
    made = trades(first_ms)
    store(AT, BTC, made)
    again = [trade for trade in made if trade.id % 5 == 0]
    store(AT, BTC, again, "again:0")
    close(AT, buckets(first_ms, 4))
    [found] = scores(first_ms, exchange=AT)
    assert (found.executions, found.repeated) == (len(made), len(again)) == (200, 40)
    assert found.public()["repeat_rate"] == round(40 / 240, 6)
    assert found.public()["coverage"] == 1
