"""MEXC spot: trades from protobuf frames, history from its klines."""

from __future__ import annotations

from exchanges.mexc.holdings import MexcHoldings
from exchanges.mexc.mapper import SCHEMA_SINCE, map_frames
from exchanges.mexc.rest import KLINES_PER_PAGE, WEIGHTS, MexcRest
from exchanges.mexc.session import MexcSession
from exchanges.venue import Backfill, KlinePage, TradeIds, Venue

VENUE = Venue(
    slug="mexc",
    docs="https://www.mexc.com/api-docs/spot-v3",
    trade_ids=TradeIds.ABSENT,  # text that removes duplicates, and not in every frame: an overlap could count twice
    backfill=Backfill.NONE,  # REST's trades have no ids: beside the stream's they would count twice
    mapper=map_frames,
    session=MexcSession,
    rest=MexcRest,
    holdings=MexcHoldings,
    flat_when_idle=True,  # not documented; this reading claims less
    kline_page=KlinePage(KLINES_PER_PAGE, WEIGHTS["/api/v3/klines"], days=KLINES_PER_PAGE // 6),  # of four hours
    turnover_shortened=True,  # 239393.69 for 2.84044203 BTC, in a captured frame (2026-09): quoteAssetPrecision
    schema_since=SCHEMA_SINCE,
)
