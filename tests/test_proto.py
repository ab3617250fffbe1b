"""The protobuf messages against the published byte sequences, and the generated modules against their sources."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import proto
from proto import mexc_pb2
from proto.mexc_pb2 import PushDataV3ApiWrapper

PROTO = Path(proto.__file__).parent

# Both were checked with the schema published on 2026-06-17.
DEALS = bytes.fromhex(
    "0a2f73706f74407075626c69632e61676772652e6465616c732e76332e6170692e7062403130306d73404254435553445"
    "41a074254435553445430c4a9d9d0c432d2136e0a240a0839333232302e3030120a302e3034343338323433180220bba9"
    "d9d0c4322a03315f320a1d0a0839333231392e39391203302e31180120bca9d9d0c4322a03335f34122773706f7440707"
    "5626c69632e61676772652e6465616c732e76332e6170692e7062403130306d73"
)
KLINE = bytes.fromhex(
    "0a2873706f74407075626c69632e6b6c696e652e76332e6170692e70624042544355534454404d696e351a07425443555"
    "344542220326662393432313534656634346134616232656639386338616662366134613728f3ec92d1c432a2134d0a04"
    "4d696e3510848bfebb061a053932393235220839333135382e34372a0839333135382e3437320539323830303a0b33362"
    "e3833383033323234420a333432343831312e303548b08dfebb06"
)


def test_the_published_deals_are_read_field_by_field() -> None:
    push = PushDataV3ApiWrapper.FromString(DEALS)
    assert push.channel == "spot@public.aggre.deals.v3.api.pb@100ms@BTCUSDT"
    assert (push.symbol, push.sendTime, push.HasField("createTime")) == ("BTCUSDT", 1736409765060, False)
    assert push.WhichOneof("body") == "publicAggreDeals"
    assert push.publicAggreDeals.eventType == "spot@public.aggre.deals.v3.api.pb@100ms"
    assert [(d.price, d.quantity, d.tradeType, d.time, d.tradeId) for d in push.publicAggreDeals.deals] == [
        ("93220.00", "0.04438243", 2, 1736409765051, "1_2"),
        ("93219.99", "0.1", 1, 1736409765052, "3_4"),
    ]


def test_the_published_kline_is_read_field_by_field() -> None:
    push = PushDataV3ApiWrapper.FromString(KLINE)
    kline = push.publicSpotKline
    assert (push.symbolId, push.createTime) == ("2fb942154ef44a4ab2ef98c8afb6a4a7", 1736410707571)
    assert (kline.interval, kline.windowStart, kline.windowEnd) == ("Min5", 1736410500, 1736410800)
    assert (kline.openingPrice, kline.closingPrice) == ("92925", "93158.47")
    assert (kline.highestPrice, kline.lowestPrice) == ("93158.47", "92800")
    assert (kline.volume, kline.amount) == ("36.83803224", "3424811.05")


def test_what_is_written_is_what_the_venue_writes() -> None:
    for published in (DEALS, KLINE):
        assert PushDataV3ApiWrapper.FromString(published).SerializeToString() == published


def test_the_generated_module_has_the_numbers_of_its_source() -> None:
    source = re.sub(r"//.*", "", (PROTO / "mexc.proto").read_text())
    stated = {
        name: dict(re.findall(r"(\w+) = (\d+);", body))
        for name, body in re.findall(r"message (\w+) \{(.*?)^\}", source, re.DOTALL | re.MULTILINE)
    }
    generated = {
        name: {field.name: str(field.number) for field in message.fields}
        for name, message in mexc_pb2.DESCRIPTOR.message_types_by_name.items()
    }
    assert generated == stated
    assert generated["PublicAggreDealsV3ApiItem"]["tradeId"] == "5"


def test_the_revision_names_an_upstream_state_and_its_day() -> None:
    assert re.fullmatch(r"[\w-]+/[\w-]+ [0-9a-f]{7,40} \d{4}-\d\d-\d\d\n", (PROTO / "REVISION").read_text())
    assert date(2026, 6, 17) <= proto.revised_on() <= date.today()
