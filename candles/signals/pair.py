"""Two markets side by side: their prices now and one window ago, in one unit where that is possible."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from math import inf
from statistics import median

from candles.signals.evaluation import Prices
from candles.signals.reference import Rate, move_bps, price_at, rate_of, reference_price
from candles.signals.section import Market, max_age_ms

STANDING_SAMPLES = 32

RatesAgo = Callable[[int], Mapping[str, Rate]]
"""What the quotes were worth that many seconds ago."""


@dataclass(frozen=True, slots=True)
class View:
    """One market on its own clock and in its own quote.

    `quoted` is its reference price, the last one known when it is stale; `before` are those of each window.
    """

    market: Market
    at_ms: int
    max_age_ms: float
    is_fresh: bool
    quoted: Decimal
    price: float
    before: Mapping[int, float | None]

    def move_bps(self, window_s: int) -> float | None:
        """The move in this market's own quote; None without a price one window ago."""
        before = self.before[window_s]
        return None if before is None else move_bps(self.price, before)


@dataclass(frozen=True, slots=True)
class Pair:
    """Leader and follower over one window; `now` and `before` are None when they cannot be compared.

    `is_settled`: the rates that were used are where their own markets are.
    """

    leader: View
    follower: View
    is_mixed: bool
    rates: tuple[Rate | None, Rate | None]
    now: Prices | None
    before: Prices | None
    is_settled: bool = True


def view(market: Market, now_ms: int, windows_s: tuple[int, ...]) -> View:
    """The market at `now_ms` of our clock."""
    at_ms = now_ms + market.clock.offset_ms
    max_age = max_age_ms(market.trail, at_ms)
    price = reference_price(market.leg, at_ms, max_age)
    is_fresh = price is not None and not market.health.is_frozen
    quoted = market.leg.price if price is None else price
    before = {w: price_at(market.trail, at_ms - 1_000 * w, max_age) for w in windows_s}
    return View(market, at_ms, max_age, is_fresh, quoted, float(quoted), before)


def pair(leader: View, follower: View, window_s: int | None, rates: RatesAgo) -> Pair:
    """In their common quote, where the rate cancels, else in USD at the rates of both moments.

    Without a window there is no price before.
    """
    legs = leader.market.leg, follower.market.leg
    is_mixed, is_settled = legs[0].unit != legs[1].unit, True
    now_rates = rate_of(legs[0], rates(0)), rate_of(legs[1], rates(0))
    now: Prices | None = Prices(leader.price, follower.price)
    then = (None, None) if window_s is None else (leader.before[window_s], follower.before[window_s])
    before = None if then[0] is None or then[1] is None else Prices(then[0], then[1])
    if is_mixed:
        then_rates = now_rates
        if window_s is not None:
            then_rates = rate_of(legs[0], rates(window_s)), rate_of(legs[1], rates(window_s))
        now, before = _in_usd(now, now_rates), _in_usd(before, then_rates)
        is_settled = all(rate is None or rate.is_settled for rate in (*now_rates, *then_rates))
    return Pair(leader, follower, is_mixed, now_rates, now, before, is_settled)


def _in_usd(prices: Prices | None, rates: tuple[Rate | None, Rate | None]) -> Prices | None:
    leader, follower = rates
    if prices is None or leader is None or follower is None:
        return None
    return Prices(prices.leader * leader.value, prices.follower * follower.value)


def excess_bps(leader: View, follower: View) -> float:
    """How far the pair is from its usual distance: the median over the time both trails cover."""
    spans = [of.at_ms - of.market.trail[0][0] for of in (leader, follower)]
    ages = [min(spans) * k // STANDING_SAMPLES for k in range(STANDING_SAMPLES + 1)]
    gaps = []
    for age in ages:
        rich = price_at(leader.market.trail, leader.at_ms - age, inf)
        poor = price_at(follower.market.trail, follower.at_ms - age, inf)
        if rich is not None and poor is not None:
            gaps.append(move_bps(rich, poor))
    return move_bps(leader.price, follower.price) - median(gaps)
