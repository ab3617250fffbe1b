"""Binance.com spot: trades from `@aggTrade`, history from aggTrades and klines."""

from __future__ import annotations

from exchanges.binance.holdings import BinanceHoldings
from exchanges.binance.mapper import map_frames
from exchanges.binance.rest import PAGE, WEIGHTS, BinanceRest
from exchanges.binance.session import BinanceSession
from exchanges.venue import Backfill, KlinePage, TradeIds, Venue

VENUE = Venue(
    slug="binance",
    docs="https://developers.binance.com/docs/binance-spot-api-docs",
    trade_ids=TradeIds.CONSECUTIVE,
    backfill=Backfill.BY_ID,
    mapper=map_frames,
    session=BinanceSession,
    rest=BinanceRest,
    holdings=BinanceHoldings,
    flat_when_idle=True,
    turnover_cut=True,
    kline_page=KlinePage(PAGE, WEIGHTS["/api/v3/klines"]),
)
