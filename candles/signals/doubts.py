"""What speaks against a pair of markets: the guards of signals.md §4.5 that every pair has in common."""

from __future__ import annotations

from collections.abc import Collection

from candles.signals import guards
from candles.signals.guards import Suppression
from candles.signals.pair import Pair
from candles.signals.reference import gap_bps

DEPEG_FACTOR = 2.0
PEG_BPS = 30.0
"""From here on a stable coin is off its peg (STABLE_DEPEG)."""


def broken(of: Pair) -> Suppression | None:
    """Why the pair cannot be measured now."""
    if not of.leader.is_fresh:
        return Suppression.STALE_LEADER
    if not of.follower.is_fresh:
        return Suppression.STALE_FOLLOWER
    if of.now is None:
        return Suppression.BASIS_STALE
    is_halted = of.leader.market.health.is_halted or of.follower.market.health.is_halted
    return Suppression.SYMBOL_HALTED if is_halted else None


def of_markets(of: Pair) -> Suppression | None:
    """What speaks against trusting one of the markets at all."""
    return guards.of_market(of.leader.market) or guards.of_market(of.follower.market)


def of_basis(of: Pair) -> Suppression | None:
    """A mixed pair's rate is far off its peg, or changes so fast that its median lags behind."""
    if of.is_mixed and (not of.is_settled or guards.is_depegged(of.rates, guards.DEPEG_LIMIT_BPS)):
        return Suppression.BASIS_DEPEG
    return None


def of_peg(of: Pair, off_peg: Collection[str]) -> Suppression | None:
    """The stricter switch: a quote of a mixed pair is off its peg (STABLE_DEPEG is open, or is about to be)."""
    if not of.is_mixed:
        return None
    quotes = {of.leader.market.leg.unit, of.follower.market.leg.unit}
    is_off = not quotes.isdisjoint(off_peg) or guards.is_depegged(of.rates, PEG_BPS)
    return Suppression.BASIS_DEPEG if is_off else None


def of_gap(of: Pair) -> Suppression | None:
    """The prices are so far apart that they are hardly of one thing."""
    is_suspect = of.now is not None and guards.is_suspect(gap_bps(of.now.leader, of.now.follower))
    return Suppression.SUSPECT_GAP if is_suspect else None


def depeg_factor(of: Pair) -> float:
    """Thresholds are doubled while a quote of a mixed pair is off its peg."""
    return DEPEG_FACTOR if of.is_mixed and guards.is_depegged(of.rates) else 1.0
