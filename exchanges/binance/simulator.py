"""Binance as a simulated venue: what it lists and its dialect; Binance.US has another."""

from __future__ import annotations

import re
from typing import Any

from exchanges.binance.simulator_rest import RestDialect
from exchanges.binance.simulator_streams import BinanceLike, Dialect
from exchanges.simulation.listing import Listing
from exchanges.simulation.stage import Script


def _is_com_id(number: Any) -> bool:
    if number is None or (isinstance(number, int) and not isinstance(number, bool)):
        return number is None or -(1 << 63) <= number < 1 << 63
    return isinstance(number, str) and re.fullmatch(r"[A-Za-z0-9_-]{1,36}", number) is not None


def listed(venue: str, native: str, quote: str, tick: str, lot: str, per_s: float, places: int = 8) -> Listing:
    """A market of this family: `native` is base and quote run together."""
    base = native.removesuffix(quote)
    return Listing(venue, native, base, quote, tick, lot, per_s, bundled=0.12, quote_places=places)


_COM = Dialect(
    ping_every_s=20.0,
    pong_within_s=60.0,
    is_id_allowed=_is_com_id,
    id_complaint="Invalid request: request ID must be an integer, a string of 36 characters or null",
    has_order_ids=False,
    rest=RestDialect(
        weights={
            "ping": 1, "time": 1, "exchangeInfo": 20, "trades": 25, "historicalTrades": 25, "aggTrades": 4,
            "klines": 2, "uiKlines": 2, "ticker/24hr": 2, "ticker/price": 2, "ticker/bookTicker": 2, "account": 20,
        },
        weight_limit=6000,
        raw_limit=300_000,
        all_tickers_weight=80,
        history_needs_key=False,
        has_flat_permissions=False,
        tells_rights=True,
    ),
)

SIMULATOR = Script(
    listings=tuple(
        listed("binance", *row)
        for row in (
            ("BTCUSDT", "USDT", "0.01", "0.00001", 6.0),
            ("ETHUSDT", "USDT", "0.01", "0.0001", 4.5),
            ("SOLUSDT", "USDT", "0.01", "0.001", 3.0),
            ("XRPUSDT", "USDT", "0.0001", "0.1", 2.5),
            ("DOGEUSDT", "USDT", "0.00001", "1", 2.0),
            ("ADAUSDT", "USDT", "0.0001", "0.1", 1.2),
            ("LINKUSDT", "USDT", "0.01", "0.01", 1.0),
            ("AVAXUSDT", "USDT", "0.01", "0.01", 1.0),
            ("LTCUSDT", "USDT", "0.01", "0.001", 0.9),
            ("DOTUSDT", "USDT", "0.001", "0.01", 0.8),
            ("PEPEUSDT", "USDT", "0.00000001", "1", 0.8),
            ("NMRUSDT", "USDT", "0.01", "0.01", 0.006),
            ("USDCUSDT", "USDT", "0.0001", "1", 0.5),
        )
    ),
    build=lambda stage: BinanceLike(stage, _COM),
)
