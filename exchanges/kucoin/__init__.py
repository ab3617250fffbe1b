"""KuCoin spot: trades from `/market/match`, a token before every connection, history from its klines."""

from __future__ import annotations

from exchanges.kucoin.mapper import map_frames
from exchanges.kucoin.rest import KucoinRest
from exchanges.kucoin.session import KucoinSession
from exchanges.venue import Backfill, TradeIds, Venue

VENUE = Venue(
    slug="kucoin",
    docs="https://www.kucoin.com/docs-new",
    trade_ids=TradeIds.ORDERED,
    backfill=Backfill.RECENT,
    mapper=map_frames,
    session=KucoinSession,
    rest=KucoinRest,
    flat_when_idle=False,
)
