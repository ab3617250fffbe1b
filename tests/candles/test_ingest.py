"""One bad frame never stops a batch: it is counted, kept with its reason, and the rest is stored."""

from __future__ import annotations

import base64
import json
import logging
import time
from pathlib import Path

import pytest
from django.db import DatabaseError

from candles import ledger
from candles.ledger import Bucket
from candles.services import arrivals, drift, ingest
from exchanges import wire
from livermore.core import keys
from livermore.core.errors import FrameRejected, StoreUnavailable
from livermore.core.frame import FrameBatch
from symbols.models import ExchangeSymbol
from tests.support.trades import Made

pytestmark = pytest.mark.django_db

FIXTURES = Path(__file__).resolve().parents[1] / "venues" / "fixtures"
OPEN_MS = 1_770_000_000_000
BTC = Bucket("BTC-USDT", OPEN_MS)


@pytest.fixture(autouse=True)
def _listed(redis_state):
    for memory in (ingest._books, ingest._previews, arrivals._newest, arrivals._epochs):
        memory.clear()
    for base in ("BTC", "ETH"):
        ExchangeSymbol(exchange_id="binance", native=f"{base}USDT", base=base, quote="USDT", tier=1).save()


def made(trade_id: int, price: str = "64000.1", quantity: str = "0.5", native: str = "BTCUSDT") -> bytes:
    return Made(native, trade_id, OPEN_MS + trade_id, price, quantity, True).frame()


def body(frames: list[bytes], number: int = 0) -> dict:
    return wire.pack(FrameBatch("binance", "c", number, 1, tuple(frames), ((len(frames), 1),)))


def stored(bucket: Bucket = BTC) -> list:
    (slabs,) = ledger.slabs("binance", [bucket])
    return sorted(i for slab in slabs.values() for i in slab.ids)


GOOD = [made(1), made(2), made(3)]


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (b'{"stream":"btcusdt@aggTrade","data":{"e":"aggTr', "not JSON"),
        (b"<html><body>502 Bad Gateway</body></html>", "not JSON"),
        (b"\x00\xff\x08\x01\n\n\xfe", "not JSON"),
        (made(9, price="1e400"), "number out of range"),
        (made(9, quantity="99999999999999999999999999"), "number out of range"),
        (made(9, price="0"), "number out of range"),
        (made(9, price="-5"), "number out of range"),
        (made(9, price="NaN"), "not a number"),
        (made(9, quantity="1_000"), "not a number"),
    ],
)
def test_a_bad_frame_is_set_aside_and_the_rest_goes_on(redis_state, caplog, bad, why):
    ingest.ingest(body([made(0)]))  # a known price, against which a jump is judged
    with caplog.at_level(logging.WARNING):
        done = ingest.ingest(body([GOOD[0], bad, *GOOD[1:]], number=1))
    assert stored() == [0, 1, 2, 3]
    assert sum(done.rejected.values()) == 1
    assert redis_state.hgetall(keys.rejected("binance")) == {why.encode(): b"1"}
    (kept,) = redis_state.lrange(keys.quarantine("binance"), 0, -1)
    assert base64.b64decode(json.loads(kept)["frame_b64"]) == bad
    assert [record.message for record in caplog.records] == ["batch.rejected"]


def test_fields_that_no_schema_has_are_counted_by_name_and_their_trades_are_stored(redis_state):
    ExchangeSymbol(exchange_id="mexc", native="BTCUSDT", base="BTC", quote="USDT", tier=1).save()
    frames = [json.loads(line) for line in (FIXTURES / "mexc" / "frames.jsonl").read_text("utf-8").splitlines()]
    grown = base64.b64decode(frames[5]["b64"])  # with a field 999, and a field 6 in its deal
    result = ingest.ingest(wire.pack(FrameBatch("mexc", "c", 0, 1, (grown, grown), ((2, 1),))))
    assert (result.trades, result.rejected) == (2, {})
    counted = redis_state.hgetall(keys.drift("mexc"))
    assert counted == {b"PushDataV3ApiWrapper.999": b"2", b"PublicAggreDealsV3ApiItem.6": b"2"}


def renamed(trade_id: int, native: str = "ETHUSDT") -> bytes:
    return made(trade_id, native=native).replace(b'"p":', b'"px":')


NO_P = "Object missing required field `p` - at `$.data`"


def alerts(redis_state) -> list[dict]:
    return [json.loads(fields[b"event"]) for _, fields in redis_state.xrange(keys.alerts_stream())]


def test_a_renamed_field_is_told_once_an_hour_naming_venue_and_field_while_other_symbols_go_on(redis_state):
    listener = redis_state.pubsub(ignore_subscribe_messages=True)
    listener.subscribe(keys.channel_alerts("binance"))
    ingest.ingest(body([made(1), renamed(1), renamed(2)]))
    ingest.ingest(body([made(2), renamed(3)], number=1))
    assert stored() == [1, 2]
    (alert,) = alerts(redis_state)
    assert (alert["v"], alert["kind"], alert["what"]) == (1, "schema_drift", "rejected")
    assert (alert["exchange"], alert["field"], alert["reason"], alert["count"]) == ("binance", "p", NO_P, 2)
    assert alert["message"] == f"binance: 2 frames of a batch set aside: {NO_P}"
    heard = [m for m in (listener.get_message(timeout=0.2) for _ in range(5)) if m]
    assert [json.loads(m["data"]) for m in heard] == [alert]
    gate = keys.alarmed("binance", NO_P)
    assert 3500 < redis_state.ttl(gate) <= 3600
    redis_state.delete(gate)  # an hour later
    ingest.ingest(body([renamed(4)], number=2))
    assert [a["count"] for a in alerts(redis_state)] == [2, 1]


def test_a_field_that_no_schema_has_is_told_once_each(redis_state):
    ExchangeSymbol(exchange_id="mexc", native="BTCUSDT", base="BTC", quote="USDT", tier=1).save()
    frames = [json.loads(line) for line in (FIXTURES / "mexc" / "frames.jsonl").read_text("utf-8").splitlines()]
    grown = base64.b64decode(frames[5]["b64"])
    for number in range(3):
        ingest.ingest(wire.pack(FrameBatch("mexc", "c", number, 1, (grown,), ((1, 1),))))
    told = sorted((a["exchange"], a["what"], a["field"], a["count"]) for a in alerts(redis_state))
    assert told == [
        ("mexc", "unknown_field", "PublicAggreDealsV3ApiItem.6", 1),
        ("mexc", "unknown_field", "PushDataV3ApiWrapper.999", 1),
    ]


def test_what_did_not_fit_is_counted_with_its_age_and_forgotten_after_a_quiet_day(redis_state):
    ingest.ingest(body([renamed(1), renamed(2)]))
    time.sleep(0.002)  # ages are told in milliseconds
    ingest.ingest(body([b"<html>"], number=1))
    (found,) = drift.of(["binance"])
    assert {one.what: one.count for one in found.rejected} == {NO_P: 2, "not JSON": 1}
    assert found.rejected_total == 3
    now_ms = found.rejected[0].newest_ms + 180_000
    assert found.lines(now_ms) == ["frames set aside: 3, newest reason: not JSON (3 min ago)"]
    for key in (keys.rejected("binance"), keys.noticed("binance")):
        assert 86_000 < redis_state.ttl(key) <= 86_400
    assert drift.of(["kucoin"]) == [drift.Drift()]
    assert drift.of(["kucoin"])[0].lines(now_ms) == []


def test_a_lone_jump_raises_no_alarm(redis_state):
    ingest.ingest(body([made(1)]))
    ingest.ingest(body([made(2, price="640001.0"), made(3)], number=1))
    assert drift.of(["binance"])[0].rejected_total == 1
    assert alerts(redis_state) == []


@pytest.mark.parametrize(
    ("why", "counted_as", "field"),
    [
        (NO_P, NO_P, "p"),
        ("Expected `str`, got `int` - at `$.data.p`", "Expected `str`, got `int` - at `$.data.p`", "p"),
        (
            "Object missing required field `price` - at `$.events[0].trades[17]`",
            "Object missing required field `price` - at `$.events[].trades[]`",
            "price",
        ),
        (
            "Invalid enum value 'HOLD' - at `$.events[0].trades[3].side`",
            "Invalid enum value '…' - at `$.events[].trades[].side`",
            "side",
        ),
        (
            "Expected `array`, got `int` - at `$.events[0].trades`",
            "Expected `array`, got `int` - at `$.events[].trades`",
            "trades",
        ),
        ("not JSON", "not JSON", None),
        ("no aggTrade on its stream: no field `e`", "no aggTrade on its stream: no field `e`", "e"),
    ],
)
def test_alike_reasons_are_one_and_name_their_field(why, counted_as, field):
    assert drift.reason(why) == counted_as
    assert drift.field_of(drift.reason(why)) == field


def test_an_unknown_symbol_is_counted_and_asks_for_a_sync_once(redis_state):
    done = ingest.ingest(body([made(1), made(2, native="NEWUSDT"), made(3, native="NEWUSDT")]))
    assert done.unknown == {"NEWUSDT": 2}
    assert stored() == [1]
    assert ingest.should_sync("binance", 60)
    assert not ingest.should_sync("binance", 60)


def test_a_symbol_listed_meanwhile_is_known_at_once(redis_state, monkeypatch):
    ingest.ingest(body([made(1)]))
    ExchangeSymbol(exchange_id="binance", native="NEWUSDT", base="NEW", quote="USDT").save()
    loaded_at, book = ingest._books["binance"]
    ingest._books["binance"] = (loaded_at - 2, book)
    assert not ingest.ingest(body([made(2, native="NEWUSDT")], number=1)).unknown
    assert stored(Bucket("NEW-USDT", OPEN_MS)) == [2]


def shown(redis_state) -> str:
    return redis_state.hget(keys.ticker("binance", "BTC-USDT"), "price").decode()


def test_a_lone_jump_is_kept_with_its_frame_and_shown_to_nobody(redis_state):
    ingest.ingest(body([made(1)]))
    bad = made(2, price="640001.0")
    done = ingest.ingest(body([bad, made(3, price="64000.2")], number=1))
    assert done.rejected == {"price jumped": 1}
    (kept,) = redis_state.lrange(keys.quarantine("binance"), 0, -1)
    assert base64.b64decode(json.loads(kept)["frame_b64"]) == bad
    assert shown(redis_state) == "64000.2"
    assert stored() == [1, 2, 3]  # the fold, which sees the whole bucket, decides whether it counts


@pytest.mark.parametrize("price", ["80001", "640001"])
def test_a_real_move_is_shown_from_its_second_trade_on(redis_state, price):
    ingest.ingest(body([made(1)]))
    ingest.ingest(body([made(2, price=price)], number=1))
    assert shown(redis_state) == "64000.1"
    assert not ingest.ingest(body([made(3, price=price)], number=2)).rejected
    assert shown(redis_state) == price
    assert not ingest.ingest(body([made(4, price=price)], number=3)).rejected


def test_a_batch_delivered_twice_stores_the_same_bytes(redis_state):
    ingest.ingest(body(GOOD))
    key = keys.trades("binance", "BTC-USDT", OPEN_MS)
    once = redis_state.hgetall(key)
    ingest.ingest(body(GOOD))
    assert redis_state.hgetall(key) == once
    assert redis_state.bitcount(keys.batches("binance", "c")) == 1


@pytest.mark.parametrize("damage", [{"v": 99}, {"frames": b"nonsense"}])
def test_an_unreadable_batch_is_refused_and_counted(redis_state, damage):
    bad = {**body(GOOD), **damage}
    with pytest.raises(FrameRejected) as refused:
        ingest.ingest(bad)
    ingest.reject_batch(bad, refused.value.why)
    assert sum(map(int, redis_state.hvals(keys.rejected("binance")))) == 1


def test_a_database_that_is_away_costs_no_batch(redis_state, monkeypatch):
    def away(exchange):
        raise DatabaseError("gone")

    ingest.ingest(body([made(1)]))
    monkeypatch.setattr(ingest.symbols, "book", away)
    loaded_at, book = ingest._books["binance"]
    ingest._books["binance"] = (loaded_at - 60, book)
    ingest.ingest(body([made(2)], number=1))  # with the names it had
    assert stored() == [1, 2]
    ingest._books.clear()
    with pytest.raises(StoreUnavailable):  # which is tried again
        ingest.ingest(body([made(3)], number=2))


def test_nothing_is_stored_without_an_end(redis_state):
    ingest.ingest(body([*GOOD, made(4, native="ETHUSDT")]))
    endless = [key for key in redis_state.keys("*") if redis_state.ttl(key) == -1]
    allowed = {keys.due("binance"), keys.touched()}
    assert {key.decode() for key in endless} <= allowed
