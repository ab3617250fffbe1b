"""MEXC frames → trades; the hot path.

A binary frame, as protobuf's JSON view shows it (`proto/mexc.proto` has the numbers):

    {"channel":"spot@public.aggre.deals.v3.api.pb@100ms@BTCUSDT","symbol":"BTCUSDT","sendTime":1736409765060,
     "publicAggreDeals":{"eventType":"spot@public.aggre.deals.v3.api.pb@100ms","deals":[{"price":"93220.00",
       "quantity":"0.04438243","tradeType":2,"time":1736409765051,"tradeId":"7319X0_7320X0"}]}}

The venue gathers what happened in 100 ms into one frame; deals stay single. `tradeType` tells what the
taker did. `tradeId` is text without order, and frames of before June 2026 have none.
https://www.mexc.com/api-docs/spot-v3/websocket-market-streams
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date

import msgspec
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from exchanges.venue import Mapped
from livermore.core.symbol import SymbolBook
from livermore.core.trade import NANOS_PER_MS, Trade
from proto.mexc_pb2 import PublicAggreDealsV3ApiItem, PushDataV3ApiWrapper

SCHEMA_SINCE = date(2026, 6, 17)
"""`tradeId` exists since this day upstream."""

_DEALS = "spot@public.aggre.deals."
_LATEST_MS = (2**63 - 1) // NANOS_PER_MS
_IS_BUY = {1: True, 2: False}

# Building the tuple directly saves a third of what calling Trade(...) costs.
_trade = tuple.__new__
_parse = PushDataV3ApiWrapper.FromString
_json = msgspec.json.Decoder().decode


def map_frames(frames: Sequence[bytes], book: SymbolBook) -> Mapped:
    """The `Mapper` of MEXC; a frame is taken whole or not at all.

    Fields that our schema does not have are counted by message and number, and change nothing else.
    """
    mapped = Mapped()
    canonical = book.names.get
    for index, frame in enumerate(frames):
        try:
            push = _parse(frame)
        except DecodeError:
            if why := _why_not_protobuf(frame):
                mapped.rejected.append((index, why))
            continue
        deals = push.publicAggreDeals.deals
        if not deals:
            if why := _why_without_deals(push):
                mapped.rejected.append((index, why))
            continue
        # Without unknown fields a message is as long as it came; asking each for them costs thrice as much.
        push.DiscardUnknownFields()
        if push.ByteSize() != len(frame):
            mapped.unknown_fields.update(_unknown_fields(_parse(frame)))
        native = push.symbol or push.channel.rpartition("@")[2]
        symbol = canonical(native)
        if symbol is None:
            mapped.unknown[native] += len(deals)
            continue
        try:
            mapped.trades += [_mapped(symbol, deal) for deal in deals]
        except ValueError as error:
            mapped.rejected.append((index, str(error)))
    return mapped


def _mapped(symbol: str, deal: PublicAggreDealsV3ApiItem) -> Trade:
    """Raises `ValueError` naming the field at fault: protobuf leaves out what is missing without a word."""
    time_ms, is_buy, price, quantity = deal.time, _IS_BUY.get(deal.tradeType), deal.price, deal.quantity
    if is_buy is None or not price or not quantity or not 0 < time_ms <= _LATEST_MS:
        raise ValueError(_fault(deal))
    return _trade(Trade, (symbol, time_ms * NANOS_PER_MS, deal.tradeId, 1, price, quantity, is_buy))


def _fault(deal: PublicAggreDealsV3ApiItem) -> str:
    if deal.tradeType not in _IS_BUY:
        return "tradeType is neither 1 nor 2"
    if not deal.price:
        return "a deal without price"
    return "time cannot be" if deal.quantity else "a deal without quantity"


def _why_not_protobuf(frame: bytes) -> str | None:
    """Why a frame is bad; None for the JSON in which the venue answers."""
    if not frame.startswith(b"{"):
        return "not protobuf"
    try:
        _json(frame)
    except (ValueError, RecursionError):
        return "neither protobuf nor JSON"
    return None


def _why_without_deals(push: PushDataV3ApiWrapper) -> str | None:
    """Why a message without deals is bad; None for another channel's and for an empty list."""
    if not push.channel:
        return "no channel"
    if push.channel.startswith(_DEALS) and not push.HasField("publicAggreDeals"):
        return "no deals on their channel"
    return None


def _unknown_fields(push: PushDataV3ApiWrapper) -> Counter[str]:
    """`PublicAggreDealsV3ApiItem.6`: how often. Such a field is how the venue's schema grows."""
    return Counter(
        f"{message.DESCRIPTOR.name}.{unknown.field_number}"
        for message in _messages(push)
        for unknown in UnknownFieldSet(message)
    )


def _messages(push: PushDataV3ApiWrapper) -> Iterator[Message]:
    yield push
    yield push.publicAggreDeals
    yield from push.publicAggreDeals.deals
