"""Legs and their reference price, and what one unit of a quote is worth in USD (signals.md §4.2)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import inf, log
from statistics import median

USD = "USD"
USDC = "USDC"
USDT = "USDT"
RATE_WINDOW_MS = 60_000
"""A rate is the median of its market's last minute; a market silent for longer says nothing."""
SETTLED_BPS = 10.0
"""A rate further than this from its market's newest price is about to change: it would make a gap of its own."""

Trail = Sequence[tuple[int, float]]
"""`(event_ms, price)` ascending, at most one a second (the last of it)."""


@dataclass(frozen=True, slots=True)
class Leg:
    """The newest price of one market.

    `price` is the last trade's, `event_ms` the venue's time of it, `received_ms` ours. `bid` and `ask` are
    the top of the book at `book_ms` (venue time), where known. `is_usdc_usd` tells that the exchange merges
    its USD and USDC books: USDC is USD there by construction.
    """

    exchange: str
    symbol: str
    native: str
    base: str
    quote: str
    price: Decimal
    event_ms: int
    received_ms: int
    bid: Decimal | None = None
    ask: Decimal | None = None
    book_ms: int | None = None
    is_usdc_usd: bool = False
    batch: str = ""
    stored_ms: int | None = None

    @property
    def key(self) -> str:
        """`exchange:symbol`, unique among the legs of all exchanges."""
        return f"{self.exchange}:{self.symbol}"

    @property
    def unit(self) -> str:
        """The money this leg is counted in."""
        return USD if self.quote == USDC and self.is_usdc_usd else self.quote


@dataclass(frozen=True, slots=True)
class RateMarket:
    """A direct market of a quote currency, such as USDT-USD; `quote` is the unit of its prices."""

    exchange: str
    asset: str
    quote: str
    points: Trail


@dataclass(frozen=True, slots=True)
class Rate:
    """What one unit is worth in USD, who says so, and how old the oldest word in it is.

    `behind_bps` is how far the newest price of its market is from it.
    """

    value: float
    source: str
    age_ms: int
    behind_bps: float = 0.0

    @property
    def is_settled(self) -> bool:
        """Is it where its market is?"""
        return self.behind_bps <= SETTLED_BPS

    @property
    def off_peg_bps(self) -> float:
        """Distance from one dollar."""
        return abs(self.value - 1.0) * 1e4


DOLLAR = Rate(1.0, "fixed", 0)


def reference_price(leg: Leg, at_ms: int, max_age_ms: float) -> Decimal | None:
    """Mid of a fresh top of book, else the last trade if fresh, else None: the leg is stale.

    `at_ms` is the time on the venue's clock.
    """
    is_book_fresh = leg.book_ms is not None and at_ms - leg.book_ms <= max_age_ms
    if is_book_fresh and leg.bid is not None and leg.ask is not None:
        return (leg.bid + leg.ask) / 2
    return leg.price if at_ms - leg.event_ms <= max_age_ms else None


def spread_bps(leg: Leg) -> float | None:
    """Ask minus bid over mid; None where the book is unknown."""
    if leg.bid is None or leg.ask is None:
        return None
    return float((leg.ask - leg.bid) / (leg.ask + leg.bid)) * 2e4


def price_at(trail: Trail, at_ms: int, max_age_ms: float) -> float | None:
    """The newest price at or before `at_ms`, not older than `max_age_ms` before it."""
    position = bisect_right(trail, (at_ms, inf))
    if not position or at_ms - trail[position - 1][0] > max_age_ms:
        return None
    return trail[position - 1][1]


def move_bps(now: float, before: float) -> float:
    """Logarithmic move."""
    return 1e4 * log(now / before)


def gap_bps(rich: float, poor: float) -> float:
    """Simple distance of two prices in the same unit, over the second."""
    return 1e4 * (rich / poor - 1.0)


def usd_rates(markets: Iterable[RateMarket], at_ms: int) -> dict[str, Rate]:
    """The worth of every asset that has a fresh direct market at `at_ms`; a stale one is left out.

    Never implied from two markets of another coin: that would absorb the very gap we measure. An asset that
    has no fresh USD market takes its own market in an asset that has (USDC-USDT where USDT-USD is known).
    """
    rates = {USD: DOLLAR}
    of = list(markets)
    for _ in range(2):
        found: dict[str, list[Rate]] = {}
        for market in of:
            if market.asset not in rates and market.quote in rates:
                rate = _rate(market, rates[market.quote], at_ms)
                if rate is not None:
                    found.setdefault(market.asset, []).append(rate)
        rates |= {asset: _middle(candidates) for asset, candidates in found.items()}
    return rates


def rate_of(leg: Leg, rates: Mapping[str, Rate]) -> Rate | None:
    """The rate that turns this leg's price into USD, None when it is stale."""
    if leg.unit == USD and leg.quote == USDC:
        return Rate(1.0, "merged", 0)
    return rates.get(leg.quote)


def _rate(market: RateMarket, unit: Rate, at_ms: int) -> Rate | None:
    start = bisect_left(market.points, (at_ms - RATE_WINDOW_MS,))
    end = bisect_right(market.points, (at_ms, inf))
    if start == end:
        return None
    value = median(price for _, price in market.points[start:end])
    newest_ms, newest = market.points[end - 1]
    behind_bps = max(abs(move_bps(newest, value)), unit.behind_bps)
    return Rate(value * unit.value, market.exchange, max(at_ms - newest_ms, unit.age_ms), behind_bps)


def _middle(candidates: Sequence[Rate]) -> Rate:
    names = ",".join(rate.source for rate in candidates)
    return Rate(
        value=median(rate.value for rate in candidates),
        source=f"median({names})",
        age_ms=max(rate.age_ms for rate in candidates),
        behind_bps=median(rate.behind_bps for rate in candidates),
    )
