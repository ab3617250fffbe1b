"""MEXC spot: trades from protobuf frames, history from its klines."""

from __future__ import annotations

from exchanges.mexc.mapper import SCHEMA_SINCE, map_frames
from exchanges.mexc.rest import MexcRest
from exchanges.mexc.session import MexcSession
from exchanges.venue import Backfill, TradeIds, Venue

VENUE = Venue(
    slug="mexc",
    docs="https://www.mexc.com/api-docs/spot-v3",
    trade_ids=TradeIds.ABSENT,  # text that removes duplicates, and not in every frame: an overlap could count twice
    backfill=Backfill.NONE,  # REST's trades have no ids: beside the stream's they would count twice
    mapper=map_frames,
    session=MexcSession,
    rest=MexcRest,
    flat_when_idle=True,  # not documented; this reading claims less
    schema_since=SCHEMA_SINCE,
)
