"""Which symbols form Tier 1: the largest by 24 h turnover in dollars, with hysteresis."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal

from livermore.core.symbol import Symbol

DOLLAR = "USD"

DOLLAR_COINS = frozenset(
    {"USDT", "USDC", "FDUSD", "TUSD", "BUSD", "USDP", "PYUSD", "RLUSD", "USDE", "USD1", "USDS", "DAI", "GUSD", "XUSD"}
)
"""Coins meant to be worth a dollar. Where a venue has no market of its own against USD they count as
1 here: an order by turnover does not turn on a tenth of a per cent (signals never make this step)."""

CASH = frozenset({DOLLAR, "EUR", "GBP", "JPY", "AUD", "CAD", "CHF", "SGD", "TRY", "BRL", "MXN", "ARS", "COP"}) | {
    "EURC", "EURI", "AEUR", "EURT", "IDR", "UAH", "PLN", "RON", "CZK", "ZAR", "NGN", "RUB", "IDRT", "BIDR", "BRZ"
}  # fmt: skip
"""Money and the coins that follow one."""

PEGGED = DOLLAR_COINS | CASH

_LEVERAGED = re.compile(r"(.{2,})[2-5][LS]|(.{3,})(?:UP|DOWN|BULL|BEAR)")
LEAVE_FACTOR = Decimal("1.25")
LEAVE_AFTER = 3
"""A member leaves after so many refreshes in a row below `LEAVE_FACTOR` times the size."""
_ROUNDED = Context(prec=28)


@dataclass(frozen=True, slots=True)
class Market:
    """A trading symbol as ranking sees it; `turnover` is of the last 24 h, in quote.

    A member of Tier 1 may have been below the edge at the last refreshes in a row: `refreshes_below`.
    """

    native: str
    symbol: Symbol
    turnover: Decimal
    is_tier1: bool = False
    refreshes_below: int = 0


@dataclass(frozen=True, slots=True)
class Ranked:
    """What became of a market. No rank: excluded by rule, without turnover or without a dollar rate."""

    native: str
    turnover_usd: Decimal | None
    rank: int | None
    is_tier1: bool
    refreshes_below: int = 0


def rank(
    markets: Iterable[Market], rates: Mapping[str, Decimal], size: int, *, merges_usd_usdc: bool = False
) -> list[Ranked]:
    """Every market of one exchange, ranked by turnover in dollars, the largest first.

    `rates` gives the dollars for one unit of each quote (`usd_rates`). A market enters Tier 1 at rank
    ≤ `size` and leaves it at the third refresh in a row at rank > 1.25 · `size`, so that the edge does not flap;
    what is excluded leaves at once. Equal turnovers are ordered by name, so that the answer depends on nothing
    but the arguments.
    """
    all_markets = list(markets)
    assets = frozenset(m.symbol.base for m in all_markets)
    books = {m.symbol for m in all_markets} if merges_usd_usdc else set()
    dollars = {m.native: _dollars(m, rates) for m in all_markets}
    eligible = [m for m in all_markets if dollars[m.native] and not _is_excluded(m.symbol, assets, books)]
    eligible.sort(key=lambda m: (-(dollars[m.native] or 0), m.native))
    ranked = [_placed(m, dollars[m.native], n, size) for n, m in enumerate(eligible, start=1)]
    places = {r.native for r in ranked}
    return ranked + [Ranked(m.native, dollars[m.native], None, False) for m in all_markets if m.native not in places]


def _placed(market: Market, dollars: Decimal | None, place: int, size: int) -> Ranked:
    below = market.refreshes_below + 1 if market.is_tier1 and place > int(size * LEAVE_FACTOR) else 0
    is_tier1 = place <= size or (market.is_tier1 and below < LEAVE_AFTER)
    return Ranked(market.native, dollars, place, is_tier1, below if is_tier1 else 0)


def usd_rates(quotes: Iterable[str], prices: Mapping[Symbol, Decimal]) -> dict[str, Decimal]:
    """Dollars for one unit of each quote, by the venue's own `prices`; a quote without a way is left out.

    A way is one market against USD or a dollar coin, in either direction (BTC-USD, or USDT-TRY turned
    around). USD is 1; a dollar coin is its price in USD where the venue has one, else 1.
    """
    rates = {DOLLAR: Decimal(1)}
    for coin in sorted(DOLLAR_COINS):
        rates[coin] = prices.get(Symbol(coin, DOLLAR)) or Decimal(1)
    anchors = dict(rates)
    for quote in quotes:
        found = None if quote in rates else _through(quote, anchors, prices)
        if found is not None:
            rates[quote] = found
    return {quote: rates[quote] for quote in quotes if quote in rates}


def rate_markets(quotes: Iterable[str], turnovers: Mapping[Symbol, Decimal]) -> list[Symbol]:
    """The markets whose prices `usd_rates` needs: for each quote the one that trades most against dollars.

    `turnovers` holds every listed market with its 24 h turnover in quote. A market of the quote against
    dollars is taken before one of dollars against the quote, whose turnover is in another unit.
    """
    chosen = []
    for quote in set(quotes) - {DOLLAR}:
        dollars = {DOLLAR} if quote in DOLLAR_COINS else DOLLAR_COINS | {DOLLAR}
        straight = [Symbol(quote, dollar) for dollar in dollars]
        turned = [Symbol(dollar, quote) for dollar in dollars if quote not in DOLLAR_COINS]
        for candidates in (straight, turned):
            trading = [(turnovers[s], s) for s in candidates if turnovers.get(s)]
            if trading:
                chosen.append(max(trading)[1])
                break
    return sorted(chosen)


def is_leveraged(base: str, assets: Iterable[str]) -> bool:
    """Is `base` a leveraged token (BTC3L, ETH5S, BNBUP, XRPDOWN, ETHBULL)?

    The suffix alone does not tell (JUP, SYRUP): what precedes it must itself be an asset of the venue.
    """
    parts = _LEVERAGED.fullmatch(base)
    return parts is not None and (parts[1] or parts[2]) in assets


def _is_excluded(symbol: Symbol, assets: Iterable[str], books: Iterable[Symbol]) -> bool:
    is_stable_pair = symbol.base in PEGGED and symbol.quote in PEGGED
    is_twin = symbol.quote == "USDC" and Symbol(symbol.base, DOLLAR) in books
    return is_stable_pair or is_twin or is_leveraged(symbol.base, assets)


def _dollars(market: Market, rates: Mapping[str, Decimal]) -> Decimal | None:
    rate = rates.get(market.symbol.quote)
    return None if rate is None else _ROUNDED.multiply(market.turnover, rate)


def _through(quote: str, anchors: Mapping[str, Decimal], prices: Mapping[Symbol, Decimal]) -> Decimal | None:
    for anchor, rate in anchors.items():
        if price := prices.get(Symbol(quote, anchor)):
            return _ROUNDED.multiply(price, rate)
        if price := prices.get(Symbol(anchor, quote)):
            return _ROUNDED.divide(rate, price)
    return None
