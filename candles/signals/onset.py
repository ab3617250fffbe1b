"""When a condition began: found in the prices themselves, so that every evaluator finds the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf

from candles.signals.pair import Pair
from candles.signals.reference import price_at

STAY_SHARE = 0.8
"""A size that falls below this share of its threshold must begin again; within it, it only trembles."""


def began_ms(moments_ms: Iterable[int], size_at: Callable[[int], float | None], threshold: float) -> int | None:
    """The earliest moment at which the size had reached the threshold and from which on it never fell away.

    `moments_ms` come newest first. None where it is not reached at all.
    """
    began = None
    for at_ms in moments_ms:
        size = size_at(at_ms)
        if size is None or size < STAY_SHARE * threshold:
            break
        if size >= threshold:
            began = at_ms
    return began


def pair_began_ms(of: Pair, now_ms: int, size: Callable[[float, float], float], threshold: float) -> int:
    """The second, of the leader's clock, since which a size of the pair's two prices has stood there."""
    offset = of.leader.market.clock.offset_ms
    views = of.leader, of.follower

    def size_at(at_ms: int) -> float | None:
        leader, follower = (price_at(v.market.trail, at_ms + v.market.clock.offset_ms, inf) for v in views)
        return None if leader is None or follower is None else size(leader, follower)

    moments = {at - v.market.clock.offset_ms for v in views for at, _ in v.market.trail}
    began = began_ms(sorted((at for at in moments if at <= now_ms), reverse=True), size_at, threshold)
    return ((now_ms if began is None else began) + offset) // 1_000 * 1_000
