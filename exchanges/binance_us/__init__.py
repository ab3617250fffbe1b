"""Binance.US spot: an older branch of Binance.com's protocol at other hosts, with its own books and ids."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from exchanges.binance import VENUE as BINANCE
from exchanges.binance.holdings import BinanceHoldings
from exchanges.binance.rest import PAGE, BinanceRest
from exchanges.venue import KlinePage

WEIGHTS = {
    "/api/v3/time": 1,
    "/api/v3/exchangeInfo": 10,
    "/api/v3/klines": 1,
    "/api/v3/aggTrades": 1,
    "/api/v3/ticker/24hr": 40,  # of all symbols
}
"""https://docs.binance.us/#market-data-endpoints"""

ACCOUNT_WEIGHTS = {"/api/v3/time": 1, "/api/v3/account": 10}
"""https://docs.binance.us/#user-data-endpoints; it has no call for what a key may do."""

VENUE = replace(
    BINANCE,
    slug="binance_us",
    docs="https://docs.binance.us",
    rest=partial(BinanceRest, weights=WEIGHTS),
    holdings=partial(BinanceHoldings, weights=ACCOUNT_WEIGHTS),
    kline_page=KlinePage(PAGE, WEIGHTS["/api/v3/klines"]),
)
