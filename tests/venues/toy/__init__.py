"""The smallest complete venue: what ADDING_AN_EXCHANGE.md asks for, as a package to copy from or to install."""

from __future__ import annotations

from exchanges.venue import Backfill, KlinePage, TradeIds, Venue

from .mapper import map_frames
from .rest import WEIGHTS, ToyRest
from .session import ToySession

VENUE = Venue(
    slug="toy",
    docs="https://toy.example/docs",
    trade_ids=TradeIds.CONSECUTIVE,
    backfill=Backfill.BY_TIME,
    mapper=map_frames,
    session=ToySession,
    rest=ToyRest,
    flat_when_idle=False,
    kline_page=KlinePage(bars=1000, weight=WEIGHTS["/candles"]),
)
