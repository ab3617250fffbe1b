"""Coinbase Advanced Trade spot: trades from `market_trades`, history from the public market paths."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

from exchanges.coinbase.mapper import map_frames
from exchanges.coinbase.rest import CANDLES_PER_PAGE, CoinbaseRest
from exchanges.coinbase.session import CoinbaseSession
from exchanges.holdings import Credentials, Holdings
from exchanges.pacing import Pace
from exchanges.venue import (
    Backfill,
    Budget,
    Endpoint,
    Key,
    KlinePage,
    Limits,
    Session,
    SessionFactory,
    TradeIds,
    Venue,
)


def _holdings(endpoint: Endpoint, budget: Budget, credentials: Credentials) -> Holdings:
    from exchanges.coinbase.holdings import CoinbaseHoldings  # for the same reason as in `_keyed`

    return CoinbaseHoldings(endpoint, budget, credentials)


def _keyed(key: Key) -> SessionFactory:
    from exchanges.coinbase.key import signer  # cryptography takes a while to import, and most processes never sign

    return partial(CoinbaseSession, sign=signer(key))


def _paced(session: SessionFactory) -> SessionFactory:
    """Eight messages a second are allowed an address, whatever the number of its connections.

    Two connections that look at the same moment may both find the pace free: its headroom covers that.
    """
    paces: dict[float, Pace] = {}

    def of_one_address(limits: Limits, natives: Collection[str]) -> Session:
        pace = paces.setdefault(limits.messages_per_second, Pace(limits.messages_per_second))
        made: Session = partial(session, pace=pace)(limits, natives)  # type: ignore[call-arg]
        return made

    return of_one_address


VENUE = Venue(
    slug="coinbase",
    docs="https://docs.cdp.coinbase.com/advanced-trade/docs/welcome",
    trade_ids=TradeIds.CONSECUTIVE,
    backfill=Backfill.BY_TIME,
    mapper=map_frames,
    session=CoinbaseSession,
    rest=CoinbaseRest,
    holdings=_holdings,
    flat_when_idle=False,
    has_turnover=False,
    kline_page=KlinePage(CANDLES_PER_PAGE, weight=1),
    keyed=_keyed,
    paced=_paced,
)
