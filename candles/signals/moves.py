"""What one market did lately, in dollars: moves that a change of its quote's worth cannot feign."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from candles.signals.pair import RatesAgo, View
from candles.signals.reference import USD, move_bps, price_at, rate_of

QUOTE_STEPS_S = 15
STEADY_BPS = 5.0


def is_quote_steady(of: View, rates: RatesAgo, span_s: int) -> bool:
    """Is the worth of its quote known, and was it the same, where its own market was, as far back as it was known?"""
    if of.market.leg.unit == USD:
        return True
    found = [rate_of(of.market.leg, rates(ago)) for ago in range(0, span_s + 1, QUOTE_STEPS_S)]
    known = [rate for rate in found if rate is not None]
    if found[0] is None or not all(rate.is_settled for rate in known):
        return False
    values = [rate.value for rate in known]
    return 1e4 * (max(values) / min(values) - 1) <= STEADY_BPS


def moves_bps(of: View, window_s: int, from_ms: int) -> Iterator[tuple[int, float]]:
    """At every moment of its trail from `from_ms` on (its own clock): the move over the window before it."""
    trail = of.market.trail
    for at_ms, price in trail[bisect_left(trail, (from_ms,)) :]:
        if at_ms <= of.at_ms:
            before = price_at(of.market.trail, at_ms - 1_000 * window_s, of.max_age_ms)
            if before is not None:
                yield at_ms, move_bps(price, before)


def most_bps(of: View, from_ms: int) -> float:
    """The largest move, either way, that there can be between two points of its trail since then."""
    prices = [price for _, price in of.market.trail[bisect_left(of.market.trail, (from_ms,)) :]]
    return move_bps(max(prices), min(prices)) if prices else 0.0


def move_since_bps(of: View, since_ms: int) -> float | None:
    """The move from the price at a moment of its own clock to now."""
    before = price_at(of.market.trail, since_ms, of.max_age_ms)
    return None if before is None else move_bps(of.price, before)
