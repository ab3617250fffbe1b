"""MEXC's frames: schema growth, faults that protobuf hides, recordings, and what a long run leaves behind."""

from __future__ import annotations

import base64
import gc
import random
import resource
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from candles.fold import fold
from candles.slab import group
from exchanges.mexc.mapper import map_frames
from exchanges.mexc.session import MexcSession
from exchanges.venue import KEEP, Limits
from livermore.core.symbol import SymbolBook
from livermore.core.trade import Nanos
from proto.mexc_pb2 import PushDataV3ApiWrapper
from tests.support.recordings import recorded_rows

CHANNEL = "spot@public.aggre.deals.v3.api.pb@100ms@BTCUSDT"
BOOK = SymbolBook("mexc", {"BTCUSDT": "BTC-USDT"})
TIME_MS = 1_790_281_246_176
GOOD: dict[str, Any] = {"price": "84270", "quantity": "0.5", "tradeType": 1, "time": TIME_MS, "tradeId": "1_2"}


def frame(*deals: dict[str, Any], **wrapper: Any) -> bytes:
    body = {"deals": deals, "eventType": "spot@public.aggre.deals.v3.api.pb@100ms"}
    fields = {"channel": CHANNEL, "symbol": "BTCUSDT", "sendTime": 1_790_281_246_200} | wrapper
    return PushDataV3ApiWrapper(publicAggreDeals=body, **fields).SerializeToString()


def field(number: int, payload: bytes) -> bytes:
    """A length-delimited field as protobuf writes it; `payload` shorter than 128 bytes."""
    tag = number << 3 | 2
    head = bytes([tag]) if tag < 128 else bytes([tag & 127 | 128, tag >> 7])
    return head + bytes([len(payload)]) + payload


def test_a_field_nobody_knows_is_counted_and_the_trade_is_taken() -> None:
    mapped = map_frames([frame(GOOD), frame(GOOD) + field(999, b"new"), frame(GOOD)], BOOK)
    assert len(mapped.trades) == 3
    assert mapped.rejected == []
    assert mapped.unknown_fields == Counter({"PushDataV3ApiWrapper.999": 1})


def test_unknown_fields_are_named_by_message_wherever_they_stand() -> None:
    deal = field(1, b"1") + field(2, b"2") + b"\x18\x02\x20\x05" + field(6, b"a") + field(7, b"b")
    body = field(1, deal) + field(1, deal) + field(3, b"c")
    mapped = map_frames([field(1, CHANNEL.encode()) + field(3, b"BTCUSDT") + field(314, body)], BOOK)
    assert [(t.price, t.quantity, t.is_buy, t.time_ns) for t in mapped.trades] == [("1", "2", False, 5_000_000)] * 2
    assert mapped.unknown_fields == {
        "PublicAggreDealsV3Api.3": 1,
        "PublicAggreDealsV3ApiItem.6": 2,
        "PublicAggreDealsV3ApiItem.7": 2,
    }


def test_another_spelling_of_the_same_message_is_no_schema_growth() -> None:
    """Known fields twice, in another order: longer than our own spelling, and nothing new."""
    mapped = map_frames([field(3, b"ETHUSDT") + frame(GOOD)], BOOK)
    assert [t.symbol for t in mapped.trades] == ["BTC-USDT"]
    assert not mapped.unknown_fields


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"price": ""}, "a deal without price"),
        ({"quantity": ""}, "a deal without quantity"),
        ({"tradeType": 0}, "tradeType is neither 1 nor 2"),
        ({"tradeType": 3}, "tradeType is neither 1 nor 2"),
        ({"time": 0}, "time cannot be"),
        ({"time": -1}, "time cannot be"),
        ({"time": 2**63 // 10**6 + 1}, "time cannot be"),
    ],
)
def test_what_protobuf_leaves_out_in_silence_is_named(change: dict[str, Any], why: str) -> None:
    mapped = map_frames([frame(GOOD, GOOD | change)], BOOK)
    assert mapped.trades == []
    assert mapped.rejected == [(0, why)]


def test_the_last_time_that_fits_is_taken() -> None:
    (trade,) = map_frames([frame(GOOD | {"time": (2**63 - 1) // 10**6})], BOOK).trades
    assert 0 < trade.time_ns < 2**63


def test_equal_deals_without_ids_all_count_and_with_ids_only_once() -> None:
    bare = GOOD | {"tradeId": ""}
    for deal, count in ((bare, 4), (GOOD, 1)):
        trades = map_frames([frame(deal, deal), frame(deal, deal)], BOOK).trades
        assert len(trades) == 4
        (columns,) = group(trades, 1).values()
        folded = fold({"c:0": columns, "c:0 again": columns} if deal is GOOD else {"c:0": columns})
        assert folded is not None
        assert folded.trades == count


def test_the_recorded_frames_decode_and_the_deals_map() -> None:
    frames = [base64.b64decode(row["b64"]) for row in recorded_rows("mexc/ws_protobuf_2026-09.jsonl.gz")]
    mapped = map_frames(frames, BOOK)
    assert (len(frames), mapped.rejected) == (5, [])
    assert not mapped.unknown_fields
    assert [tuple(t) for t in mapped.trades] == [
        (
            "BTC-USDT",
            1_790_281_246_176_000_000,
            "731901896985399296X0_731901896985399297X0",
            *(1, "84270", "0.00099829", False),
        ),
        (
            "BTC-USDT",
            1_790_281_246_177_000_000,
            "731901896985399298X0_731901896985399299X0",
            *(1, "84270", "0.00019169", True),
        ),
    ]
    session = MexcSession(Limits(30, 10, None), ["BTCUSDT"])
    assert [session.received(f, Nanos(0)) is KEEP for f in frames] == [False, False, True, False, False]


def test_the_deals_recorded_in_decoded_form_map_without_ids() -> None:
    rows = [r for r in recorded_rows("mexc/decoded_protobuf_2026-06-23.jsonl.gz") if "publicAggreDeals" in r]
    (row,) = rows
    deals = [d | {"time": int(d["time"])} for d in row["publicAggreDeals"]["deals"]]
    sent = frame(*deals, channel=row["channel"], symbol=row["symbol"], sendTime=int(row["sendTime"]))
    mapped = map_frames([sent], BOOK)
    assert mapped.rejected == []
    assert [(t.price, t.quantity, t.is_buy, t.time_ns // 10**6, t.id) for t in mapped.trades] == [
        (d["price"], d["quantity"], d["tradeType"] == 1, d["time"], "") for d in deals
    ]
    assert len(mapped.trades) == 5


def test_bytes_that_mean_nothing_leave_no_memory_behind() -> None:
    """protobuf's own memory is not Python's: only the process's size shows it."""
    size = Path("/proc/self/statm")
    if not size.exists():
        pytest.skip("this system does not tell a process's size in /proc")
    dice = random.Random(7)

    def run() -> None:
        batch = [frame(*[GOOD | {"tradeId": str(n)} for n in range(dice.randrange(1, 9))]) for _ in range(2_000)]
        for at in range(0, len(batch), 2):
            noise = bytearray(batch[at])
            for _ in range(dice.randrange(1, 6)):
                noise[dice.randrange(len(noise))] = dice.randrange(256)
            batch[at] = bytes(noise[: dice.randrange(1, len(noise) + 1)])
        map_frames(batch, BOOK)

    for _ in range(3):
        run()
    gc.collect()
    before = int(size.read_text().split()[1])
    for _ in range(10):
        run()
    gc.collect()
    pages = int(size.read_text().split()[1]) - before
    assert pages * resource.getpagesize() < 4_000_000, "20,000 frames leave less than 200 bytes each"
