"""Binance.US's side of the conversation: Binance's, in the older dialect and for a thinner market."""

from __future__ import annotations

from exchanges.binance.simulator import listed
from exchanges.binance.simulator_rest import RestDialect
from exchanges.binance.simulator_streams import BinanceLike, Dialect
from exchanges.simulation.stage import Script

_US = Dialect(
    ping_every_s=180.0,
    pong_within_s=600.0,
    is_id_allowed=lambda number: isinstance(number, int) and not isinstance(number, bool) and number >= 0,
    id_complaint="Invalid request: request ID must be an unsigned integer",
    has_order_ids=True,
    rest=RestDialect(
        weights={
            "ping": 1, "time": 1, "exchangeInfo": 10, "trades": 1, "historicalTrades": 5, "aggTrades": 1,
            "klines": 1, "uiKlines": 1, "ticker/24hr": 1, "ticker/price": 1, "ticker/bookTicker": 1, "account": 10,
        },
        weight_limit=1200,
        raw_limit=6100,
        all_tickers_weight=40,
        history_needs_key=True,
        has_flat_permissions=True,
        tells_rights=False,
    ),
)

SIMULATOR = Script(
    listings=tuple(
        listed("binance_us", *row)
        for row in (
            ("BTCUSD", "USD", "0.01", "0.00001", 0.35, 4),
            ("BTCUSDT", "USDT", "0.01", "0.00001", 0.45),
            ("ETHUSD", "USD", "0.01", "0.0001", 0.25, 4),
            ("ETHUSDT", "USDT", "0.01", "0.0001", 0.3),
            ("SOLUSD", "USD", "0.01", "0.001", 0.15, 4),
            ("SOLUSDT", "USDT", "0.01", "0.001", 0.2),
            ("XRPUSD", "USD", "0.0001", "0.1", 0.12, 4),
            ("ADAUSDT", "USDT", "0.0001", "0.1", 0.1),
            ("USDTUSD", "USD", "0.0001", "0.01", 0.1, 4),
        )
    ),
    build=lambda stage: BinanceLike(stage, _US),
)
