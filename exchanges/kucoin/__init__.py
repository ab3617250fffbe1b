"""KuCoin spot: trades from `/market/match`, a token before every connection, history from its klines."""

from __future__ import annotations

from exchanges.kucoin.holdings import KucoinHoldings
from exchanges.kucoin.mapper import map_frames
from exchanges.kucoin.rest import CANDLES_PER_PAGE, WEIGHTS, KucoinRest
from exchanges.kucoin.session import KucoinSession
from exchanges.venue import Backfill, KlinePage, TradeIds, Venue

VENUE = Venue(
    slug="kucoin",
    docs="https://www.kucoin.com/docs-new",
    trade_ids=TradeIds.ORDERED,
    backfill=Backfill.RECENT,
    mapper=map_frames,
    session=KucoinSession,
    rest=KucoinRest,
    holdings=KucoinHoldings,
    flat_when_idle=False,
    kline_page=KlinePage(CANDLES_PER_PAGE, WEIGHTS["/api/v1/market/candles"]),
)
