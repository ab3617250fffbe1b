"""One run of one fault: let it happen, let time pass, and compare until all is equal or the patience is over."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from tests.chaos.faults import REPAIR_WITHIN_S, Fault
from tests.chaos.truth import Comparison, Stored, Truth, compare
from tests.chaos.world import BUCKET_MS, World

BEFORE_BORDER_S = -20.0
AFTER_BORDER_S = 5.0
REPAIR_STEP_S = 4.0
REPAIR_HOLD_S = 0.15
"""While repair is awaited time passes some ten times faster than the processes' own."""


@dataclass(frozen=True)
class Done:
    """`wrong` tells each candle that differs and each gap left open, in words."""

    candles: int
    adopted: int
    repair_s: float
    wrong: list[str]


class Trial:
    """Runs faults one after the other; everything must be equal before the first."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._truth, self._stored = Truth(world), Stored(world)
        self._unsure: set[tuple[str, str]] = set()
        world.to_border(AFTER_BORDER_S)
        self._first_ms = self._border_ms()
        world.to_border(AFTER_BORDER_S)
        begun, _ = self._until_equal(self._first_ms, self._border_ms(), set(), REPAIR_WITHIN_S)
        assert begun.is_equal, (list(begun.wrong.items())[:5], begun.gaps[:5])

    def run(self, fault: Fault, *, is_short: bool) -> Done:
        """One run; the buckets that it touches are compared once they are over."""
        world = self._world
        self._unsure |= fault.unsure
        world.to_border(BEFORE_BORDER_S)
        from_ms = self._border_ms()
        fault.act(world, is_short)
        assert not world.has_died, world.has_died
        world.until_streaming()
        world.to_border(AFTER_BORDER_S)
        found, repair_s = self._until_equal(from_ms, self._border_ms(), fault.unsure, fault.patience_s)
        return Done(found.total, found.adopted, repair_s, _words(found))

    def last(self) -> str:
        """All candles since the beginning, once more."""
        found, _ = self._until_equal(self._first_ms, self._border_ms(), self._unsure, REPAIR_WITHIN_S)
        wrong = _words(found)
        return f"all together: {found.total} candles, {len(wrong)} wrong {'; '.join(wrong[:5])}"

    def _until_equal(
        self, from_ms: int, to_ms: int, unsure: Collection[tuple[str, str]], patience_s: float
    ) -> tuple[Comparison, float]:
        world, began_ms = self._world, self._world.clock.now_ms
        while True:
            found = compare(self._truth, self._stored, from_ms, to_ms, unsure)
            spent_s = (world.clock.now_ms - began_ms) / 1000
            if found.is_equal or spent_s > patience_s:
                return found, spent_s
            world.advance(REPAIR_STEP_S * patience_s / REPAIR_WITHIN_S)
            world.hold(REPAIR_HOLD_S)

    def _border_ms(self) -> int:
        now_ms = self._world.clock.now_ms
        return now_ms - now_ms % BUCKET_MS


def _words(found: Comparison) -> list[str]:
    gaps = [f"gap open: {exchange} {symbol} {cause}" for exchange, symbol, cause, _, _ in found.gaps]
    return [f"{place}: {how}" for place, how in found.wrong.items()] + gaps
