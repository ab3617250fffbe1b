"""The rows in which Binance describes markets, trades and klines, in REST and streams alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from exchanges.simulation.listing import Bar, Listing, Print, fixed
from exchanges.simulation.tape import Tape


def price_text(x: Listing, price: int) -> str:
    """Prices carry as many decimals as the quote: 8, or 4 for USD on Binance.US."""
    return fixed(price, x.price_places, x.quote_places)


def quantity_text(x: Listing, quantity: int) -> str:
    """Quantities carry 8 decimals."""
    return fixed(quantity, x.lot_places, 8)


def amount_text(x: Listing, amount: int) -> str:
    """Quote amounts carry the quote's decimals."""
    return fixed(amount, x.quote_places)


def symbol_row(x: Listing, *, is_halted: bool, has_flat_permissions: bool) -> dict[str, Any]:
    """A market as exchangeInfo describes it."""
    tick, lot = price_text(x, x.tick_units), quantity_text(x, x.lot_units)
    row = {
        "symbol": x.native,
        "status": "BREAK" if is_halted else "TRADING",
        "baseAsset": x.base,
        "baseAssetPrecision": 8,
        "quoteAsset": x.quote,
        "quotePrecision": x.quote_places,
        "quoteAssetPrecision": x.quote_places,
        "orderTypes": ["LIMIT", "MARKET"],
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000.00000000", "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": lot, "maxQty": "9000000.00000000", "stepSize": lot},
            {"filterType": "NOTIONAL", "minNotional": "5.00000000", "applyMinToMarket": True},
        ],
    }
    if has_flat_permissions:
        return row | {"permissions": ["SPOT"]}
    return row | {"permissions": [], "permissionSets": [["SPOT", "MARGIN"]]}


def ticker_row(tape: Tape, now_ms: int) -> dict[str, Any]:
    """The rolling 24 hours of a market."""
    x = tape.listing
    day = tape.volume_24h(now_ms)
    first_ms = now_ms - 86_400_000
    hours = list(tape.bars(1_800_000, first_ms, now_ms, now_ms))
    opened, last = hours[0].open, tape.last_price
    change = last - opened
    mean = day.turnover * 10**x.lot_places * 10**x.price_places // max(1, day.volume) // 10**x.quote_places
    tick = x.tick_units
    return {
        "symbol": x.native,
        "priceChange": ("-" if change < 0 else "") + price_text(x, abs(change)),
        "priceChangePercent": f"{100 * change / opened:.3f}",
        "weightedAvgPrice": price_text(x, mean),
        "prevClosePrice": price_text(x, opened),
        "lastPrice": price_text(x, last),
        "lastQty": quantity_text(x, tape.prints[-1].quantity) if tape.prints else "0.00000000",
        "bidPrice": price_text(x, last - tick),
        "bidQty": quantity_text(x, 10 * x.lot_units),
        "askPrice": price_text(x, last + tick),
        "askQty": quantity_text(x, 10 * x.lot_units),
        "openPrice": price_text(x, opened),
        "highPrice": price_text(x, max(b.high for b in hours)),
        "lowPrice": price_text(x, min(b.low for b in hours)),
        "volume": quantity_text(x, day.volume),
        "quoteVolume": amount_text(x, day.turnover),
        "openTime": first_ms,
        "closeTime": now_ms,
        "firstId": tape.next_id - day.trades,
        "lastId": tape.next_id - 1,
        "count": day.trades,
    }


def book_row(x: Listing, price: int) -> dict[str, str]:
    """The best bid and ask, one tick around the last price."""
    size = quantity_text(x, 10 * x.lot_units)
    bid, ask = price_text(x, price - x.tick_units), price_text(x, price + x.tick_units)
    return {"symbol": x.native, "bidPrice": bid, "bidQty": size, "askPrice": ask, "askQty": size}


def aggregate(x: Listing, p: Print) -> dict[str, Any]:
    """A print as REST and stream describe an aggregate trade; `m` tells that the taker sold."""
    return {
        "a": p.id,
        "p": price_text(x, p.price),
        "q": quantity_text(x, p.quantity),
        "f": p.first,
        "l": p.last,
        "T": p.time_us // 1000,
        "m": not p.is_buy,
        "M": True,
    }


def executions(x: Listing, prints: Sequence[Print]) -> list[dict[str, Any]]:
    """Every single trade of some prints, as REST lists them."""
    return [
        {
            "id": p.first + i,
            "price": price_text(x, p.price),
            "qty": quantity_text(x, part),
            "quoteQty": amount_text(x, x.quote_amount(p.price, part)),
            "time": p.time_us // 1000,
            "isBuyerMaker": not p.is_buy,
            "isBestMatch": True,
        }
        for p in prints
        for i, part in enumerate(p.parts)
    ]


def kline_row(x: Listing, bar: Bar, length_ms: int) -> list[Any]:
    """The twelve columns of a kline."""
    return [
        bar.open_ms,
        price_text(x, bar.open),
        price_text(x, bar.high),
        price_text(x, bar.low),
        price_text(x, bar.close),
        quantity_text(x, bar.volume),
        bar.open_ms + length_ms - 1,
        amount_text(x, bar.turnover),
        bar.trades,
        quantity_text(x, bar.buy_volume),
        amount_text(x, bar.buy_turnover),
        "0",
    ]
