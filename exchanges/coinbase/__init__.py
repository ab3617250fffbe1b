"""Coinbase Advanced Trade spot: trades from `market_trades`, history from the public market paths."""

from __future__ import annotations

from exchanges.coinbase.mapper import map_frames
from exchanges.coinbase.rest import CoinbaseRest
from exchanges.coinbase.session import CoinbaseSession
from exchanges.venue import Backfill, TradeIds, Venue

VENUE = Venue(
    slug="coinbase",
    docs="https://docs.cdp.coinbase.com/advanced-trade/docs/welcome",
    trade_ids=TradeIds.CONSECUTIVE,
    backfill=Backfill.BY_TIME,
    mapper=map_frames,
    session=CoinbaseSession,
    rest=CoinbaseRest,
    flat_when_idle=False,
    has_turnover=False,
)
