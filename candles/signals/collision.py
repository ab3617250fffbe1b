"""The same ticker, another asset: markets whose prices are too far apart to be of one thing (D13). Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from candles.signals.reference import Rate, rate_of
from candles.signals.section import Market

MOST_APART = 2.0
"""No two prices of one asset in dollars are further apart than by this factor."""


def strangers(prices: Mapping[str, float]) -> set[str]:
    """The markets (by any key) that do not agree with more than half of all: nobody knows what they trade.

    Of two that disagree both are strangers, for nothing tells which of them is meant.
    """
    return {
        name
        for name, price in prices.items()
        if 2 * sum(1 / MOST_APART <= price / other <= MOST_APART for other in prices.values()) <= len(prices)
    }


def judged(markets: Sequence[Market], rates: Mapping[str, Rate]) -> tuple[Market, ...]:
    """The same markets; those that trade something else say that their identity is not sure.

    A market whose quote has no rate cannot be judged, and is left as it is.
    """
    prices = {
        market.leg.key: float(market.leg.price) * rate.value
        for market in markets
        if (rate := rate_of(market.leg, rates)) is not None
    }
    unsure = strangers(prices)
    return tuple(
        replace(market, health=replace(market.health, is_identity_sure=False)) if market.leg.key in unsure else market
        for market in markets
    )
