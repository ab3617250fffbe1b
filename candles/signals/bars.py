"""The cross-section of one closed bar: MACD-V of one asset and timeframe at every venue, as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from candles.signals.guards import Suppression
from candles.signals.section import Market

LEVELS = (150.0, 200.0, 250.0, 300.0, 350.0, 400.0)
"""Of indicators.md §3.5."""


@dataclass(frozen=True, slots=True)
class BarMarket:
    """One venue: its market at the bar's end, and MACD-V by the open (ms) of its newest closed bars."""

    market: Market
    macdv: Mapping[int, float]
    is_converged: bool
    is_tainted: bool

    def crossed(self, open_ms: int, timeframe_ms: int) -> float | None:
        """The deepest level that this bar crossed outwards, signed; None where it crossed none."""
        before, now = self.macdv.get(open_ms - timeframe_ms), self.macdv.get(open_ms)
        return None if before is None or now is None else crossing(before, now)

    def doubt(self, *, is_leader: bool, open_ms: int) -> Suppression | None:
        """Why its bars are not to be judged by."""
        if open_ms not in self.macdv:
            return Suppression.STALE_LEADER if is_leader else Suppression.STALE_FOLLOWER
        if not self.is_converged:
            return Suppression.NOT_CONVERGED
        if self.market.health.is_halted:
            return Suppression.SYMBOL_HALTED
        if not self.market.health.is_identity_sure:
            return Suppression.IDENTITY_UNSURE
        return Suppression.GAP_OPEN if self.is_tainted else None


@dataclass(frozen=True, slots=True)
class BarSection:
    """All venues of `base` when the bar that opened at `open_ms` has closed."""

    base: str
    timeframe: str
    timeframe_ms: int
    open_ms: int
    markets: tuple[BarMarket, ...]

    @property
    def now_ms(self) -> int:
        """The bar's end: it is evaluated as of then, whenever that is done."""
        return self.open_ms + self.timeframe_ms


def crossing(before: float, now: float) -> float | None:
    """The deepest level crossed outwards between two values: down through −L, or up through +L."""
    up = [level for level in LEVELS if before <= level < now]
    down = [-level for level in LEVELS if before >= -level > now]
    return max(up) if up else min(down) if down else None
