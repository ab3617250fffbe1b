"""The rows in which KuCoin describes markets, trades and candles, in REST and streams alike."""

from __future__ import annotations

from typing import Any

from exchanges.simulation.listing import Bar, Listing, Print, trimmed
from exchanges.simulation.tape import Tape

FIRST_SEQUENCE = 10**16  # today's sequences are too large for a float
DAY_MS, HALF_HOUR_MS = 86_400_000, 1_800_000


def sequence(trade_id: int) -> int:
    """A number that rises by one to five from trade to trade, as orders take numbers of it, too."""
    return FIRST_SEQUENCE + 3 * trade_id + (trade_id * 2_654_435_761 >> 7) % 3


def hex_id(number: int, kind: int = 0) -> str:
    """24 hexadecimal digits, as orders are called and as trades were until 2024."""
    return f"{number * 0x9E3779B97F4A7C15 + kind & (1 << 96) - 1:024x}"


def candle(x: Listing, bar: Bar) -> list[str]:
    """Start in seconds, open, CLOSE, high, low, volume, turnover."""
    prices = (trimmed(units, x.price_places) for units in (bar.open, bar.close, bar.high, bar.low))
    volume, turnover = trimmed(bar.volume, x.lot_places), trimmed(bar.turnover, x.quote_places)
    return [str(bar.open_ms // 1000), *prices, volume, turnover]


def match(x: Listing, p: Print, index: int, *, has_hex_id: bool) -> dict[str, Any]:
    """One execution of a print as the stream tells it; `side` is the taker's, `time` in ns."""
    number = p.first + index
    return {
        "makerOrderId": hex_id(number, 1),
        "price": trimmed(p.price, x.price_places),
        "sequence": str(sequence(number)),
        "side": "buy" if p.is_buy else "sell",
        "size": trimmed(p.parts[index], x.lot_places),
        "symbol": x.native,
        "takerOrderId": hex_id(p.id, 2),
        "time": str(p.time_us * 1000),
        "tradeId": hex_id(number) if has_hex_id else str(sequence(number)),
        "type": "match",
    }


def symbol_row(x: Listing, *, is_halted: bool) -> dict[str, Any]:
    """A market as `/api/v2/symbols` describes it: `symbol` for ever, `name` as it is shown today."""
    stages = ("First", "Second", "Third")
    return {
        "symbol": x.native,
        "name": x.symbol,
        "baseCurrency": x.base,
        "quoteCurrency": x.quote,
        "feeCurrency": x.quote,
        "market": "USDS",
        "baseMinSize": x.lot,
        "quoteMinSize": "0.1",
        "baseMaxSize": "10000000000",
        "quoteMaxSize": "99999999",
        "baseIncrement": x.lot,
        "quoteIncrement": "0.000001",
        "priceIncrement": x.tick,
        "priceLimitRate": "0.1",
        "minFunds": "0.1",
        "isMarginEnabled": True,
        "enableTrading": not is_halted,
        "feeCategory": 1,
        "makerFeeCoefficient": "1.00",
        "takerFeeCoefficient": "1.00",
        "st": False,
        "callauctionIsEnabled": False,
        "callauctionPriceFloor": None,
        "callauctionPriceCeiling": None,
        **{f"callauction{stage}StageStartTime": None for stage in stages},
        "tradingStartTime": None,
    }


def ticker_row(tape: Tape, now_ms: int) -> dict[str, Any]:
    """The last 24 hours of a market; `changeRate` is a fraction."""
    x, last = tape.listing, tape.last_price
    day = tape.volume_24h(now_ms)
    hours = list(tape.bars(HALF_HOUR_MS, now_ms - DAY_MS, now_ms, now_ms))
    change = last - hours[0].open
    sign = "-" if change < 0 else ""
    size = trimmed(10 * x.lot_units, x.lot_places)

    def price(units: int) -> str:
        return trimmed(units, x.price_places)

    return {
        "symbol": x.native,
        "symbolName": x.symbol,
        "buy": price(last - x.tick_units),
        "bestBidSize": size,
        "sell": price(last + x.tick_units),
        "bestAskSize": size,
        "changeRate": f"{change / hours[0].open:.4f}",
        "changePrice": sign + price(abs(change)),
        "high": price(max(b.high for b in hours)),
        "low": price(min(b.low for b in hours)),
        "vol": trimmed(day.volume, x.lot_places),
        "volValue": trimmed(day.turnover, x.quote_places),
        "last": price(last),
        "averagePrice": price(sum(b.close for b in hours) // len(hours)),
        "takerFeeRate": "0.001",
        "makerFeeRate": "0.001",
        "takerCoefficient": "1",
        "makerCoefficient": "1",
    }
