"""Coinbase Advanced Trade spot: trades from `market_trades`, history from the public market paths."""

from __future__ import annotations

from functools import partial

from exchanges.coinbase.mapper import map_frames
from exchanges.coinbase.rest import CANDLES_PER_PAGE, CoinbaseRest
from exchanges.coinbase.session import CoinbaseSession
from exchanges.venue import Backfill, Key, KlinePage, SessionFactory, TradeIds, Venue


def _keyed(key: Key) -> SessionFactory:
    from exchanges.coinbase.key import signer  # cryptography takes a while to import, and most processes never sign

    return partial(CoinbaseSession, sign=signer(key))


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
    kline_page=KlinePage(CANDLES_PER_PAGE, weight=1),
    keyed=_keyed,
)
