"""The rows in which MEXC describes markets, trades and klines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from exchanges.simulation.listing import Bar, Listing, Print, fixed, trimmed
from exchanges.simulation.tape import Tape

DAY_MS, HALF_HOUR_MS = 86_400_000, 1_800_000
NO_LOT = frozenset({"DOGEUSDT"})
"""Whose `baseSizePrecision` is "0", so that the base's decimals count instead."""
NO_TURNOVER = frozenset({"NMRUSDT", "BSVUSDT"})
"""Whose `quoteVolume` is null."""


def price_text(x: Listing, price: int) -> str:
    """Prices show every decimal of their tick."""
    return fixed(price, x.price_places)


def quantity_text(x: Listing, quantity: int) -> str:
    """Trailing zeros are trimmed."""
    return trimmed(quantity, x.lot_places)


def amount_text(x: Listing, amount: int) -> str:
    """Quote amounts are cut to the quote's decimals."""
    return trimmed(amount // 10 ** (x.quote_places - x.price_places), x.price_places)


def symbol_row(x: Listing, *, is_halted: bool) -> dict[str, Any]:
    """A market as exchangeInfo describes it; tick = 10^-quotePrecision."""
    return {
        "symbol": x.native,
        "status": "2" if is_halted else "1",
        "baseAsset": x.base,
        "baseAssetPrecision": x.lot_places,
        "quoteAsset": x.quote,
        "quotePrecision": x.price_places,
        "quoteAssetPrecision": x.price_places,
        "baseCommissionPrecision": x.lot_places,
        "quoteCommissionPrecision": x.price_places,
        "orderTypes": ["LIMIT", "MARKET", "LIMIT_MAKER"],
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "quoteAmountPrecision": "1",
        "baseSizePrecision": "0" if x.native in NO_LOT else x.lot,
        "permissions": ["SPOT"],
        "filters": [],
        "maxQuoteAmount": "4000000",
        "makerCommission": "0",
        "takerCommission": "0.0005",
        "quoteAmountPrecisionMarket": "1",
        "maxQuoteAmountMarket": "100000",
        "fullName": x.base,
        "tradeSideType": 1,
        "st": False,
    }


def ticker_row(tape: Tape, now_ms: int) -> dict[str, Any]:
    """The last 24 hours of a market; `priceChangePercent` is a fraction."""
    x, last = tape.listing, tape.last_price
    day = tape.volume_24h(now_ms)
    hours = list(tape.bars(HALF_HOUR_MS, now_ms - DAY_MS, now_ms, now_ms))
    opened = hours[0].open
    change = last - opened
    return {
        "symbol": x.native,
        "priceChange": ("-" if change < 0 else "") + price_text(x, abs(change)),
        "priceChangePercent": f"{change / opened:.4f}",
        "prevClosePrice": price_text(x, opened),
        "lastPrice": price_text(x, last),
        "bidPrice": price_text(x, last - x.tick_units),
        "bidQty": "",
        "askPrice": price_text(x, last + x.tick_units),
        "askQty": "",
        "openPrice": price_text(x, opened),
        "highPrice": price_text(x, max(b.high for b in hours)),
        "lowPrice": price_text(x, min(b.low for b in hours)),
        "volume": quantity_text(x, day.volume),
        "quoteVolume": None if x.native in NO_TURNOVER else amount_text(x, day.turnover),
        "openTime": now_ms - DAY_MS,
        "closeTime": now_ms,
        "count": None,
    }


def book_row(x: Listing, price: int) -> dict[str, str]:
    """The best bid and ask, one tick around the last price."""
    size = quantity_text(x, 10 * x.lot_units)
    bid, ask = price_text(x, price - x.tick_units), price_text(x, price + x.tick_units)
    return {"symbol": x.native, "bidPrice": bid, "bidQty": size, "askPrice": ask, "askQty": size}


def trade_rows(x: Listing, prints: Sequence[Print]) -> list[dict[str, Any]]:
    """Executions without ids, newest first."""
    return [
        {
            "id": None,
            "price": price_text(x, p.price),
            "qty": quantity_text(x, part),
            "quoteQty": trimmed(x.quote_amount(p.price, part), x.quote_places),
            "time": p.time_us // 1000,
            "isBuyerMaker": not p.is_buy,
            "isBestMatch": True,
            "tradeType": "BID" if p.is_buy else "ASK",
        }
        for p in reversed(prints)
        for part in reversed(p.parts)
    ]


def aggregate_rows(x: Listing, prints: Sequence[Print]) -> list[dict[str, Any]]:
    """Aggregates without ids, newest first."""
    return [
        {
            "a": None,
            "f": None,
            "l": None,
            "p": price_text(x, p.price),
            "q": quantity_text(x, p.quantity),
            "T": p.time_us // 1000,
            "m": not p.is_buy,
            "M": True,
        }
        for p in reversed(prints)
    ]


def kline_row(x: Listing, bar: Bar, length_ms: int) -> list[Any]:
    """Eight columns; the close time is the next open time."""
    prices = [price_text(x, units) for units in (bar.open, bar.high, bar.low, bar.close)]
    end_ms = bar.open_ms + length_ms
    return [bar.open_ms, *prices, quantity_text(x, bar.volume), end_ms, amount_text(x, bar.turnover)]
