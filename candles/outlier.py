"""Which trades of a bucket are not believed: lone prices far from what was traded before and after."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

JUMP = Decimal("0.2")
"""A price this far from its neighbours is doubted (requirements D17)."""
_UP, _DOWN = 1 + JUMP, 1 - JUMP


def is_near(price: Decimal, other: Decimal) -> bool:
    """Are these two prices within `JUMP` of each other, seen from `other`?"""
    return other * _DOWN <= price <= other * _UP


def is_calm(prices: Sequence[Decimal], reference: Decimal | None) -> bool:
    """Does no price stand out, so that none can be doubted?"""
    if not prices:
        return True
    low, high = min(prices), max(prices)
    return high <= low * _UP and (reference is None or (is_near(low, reference) and is_near(high, reference)))


def doubtful(prices: Sequence[Decimal], confirmed: Sequence[bool], reference: Decimal | None) -> set[int]:
    """Positions of prices that stand alone; `prices` are in trading order, `reference` is the price before.

    A price is doubted when it is far from the last believed one (and from the level before the last jump) and
    the next trade does not confirm it; so a real move and its return are believed from their first trade on,
    and a function of the whole set decides, not the order of arrival. Trades that the venue's REST `confirmed`
    are never doubted. Without a reference the bucket's median stands in.
    """
    if is_calm(prices, reference):
        return set()
    last = reference if reference is not None else sorted(prices)[len(prices) // 2]
    earlier = last
    found = set()
    for position, price in enumerate(prices):
        following = prices[position + 1] if position + 1 < len(prices) else None
        is_believed = (
            confirmed[position]
            or is_near(price, last)
            or is_near(price, earlier)
            or (following is not None and is_near(following, price))
        )
        if is_believed:
            if not is_near(price, last):
                earlier = last
            last = price
        else:
            found.add(position)
    return found
