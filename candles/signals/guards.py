"""Why a candidate is not published: every reason, and the pure functions that decide (signals.md §4.5)."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from candles.signals.reference import Rate
from candles.signals.section import Market

CLOCK_LIMIT_MS = 250
SUSPECT_GAP_BPS = 500.0
DEPEG_BPS = 50.0
DEPEG_LIMIT_BPS = 200.0
LONE_TRADE_USD = 1_000.0


class Suppression(StrEnum):
    """Reasons; each is counted."""

    STALE_LEADER = "stale_leader"
    STALE_FOLLOWER = "stale_follower"
    BASIS_STALE = "basis_stale"
    BASIS_DEPEG = "basis_depeg"
    CLOCK_UNCERTAIN = "clock_uncertain"
    GAP_OPEN = "gap_open"
    NOT_CONVERGED = "not_converged"
    SYMBOL_HALTED = "symbol_halted"
    IDENTITY_UNSURE = "identity_unsure"
    SUSPECT_GAP = "suspect_gap"
    BELOW_COST = "below_cost"  # this and the next two are a user's wishes, decided at delivery
    MUTED = "muted"
    RATE_CAPPED = "rate_capped"
    WARMING = "warming"
    ONE_TRADE = "one_trade"


def is_clock_uncertain(market: Market) -> bool:
    """The offset is known too badly, or a price is later than its own arrival by more than the limit."""
    if market.clock.uncertainty_ms is not None and market.clock.uncertainty_ms > CLOCK_LIMIT_MS:
        return True
    return market.leg.event_ms - market.clock.offset_ms - market.leg.received_ms > CLOCK_LIMIT_MS


def is_depegged(rates: Iterable[Rate | None], limit_bps: float = DEPEG_BPS) -> bool:
    """One of the quotes is further from a dollar than the limit."""
    return any(rate is not None and rate.off_peg_bps > limit_bps for rate in rates)


def is_suspect(gap_bps: float) -> bool:
    """A gap so wide that a ticker collision, a pause or a stale price is likelier than an opportunity."""
    return abs(gap_bps) > SUSPECT_GAP_BPS


def is_one_trade(market: Market, since_ms: int) -> bool:
    """The move since then was made by a single trade of little worth; unknown worth is not held against it."""
    if market.last_trade_usd is None or market.last_trade_usd >= LONE_TRADE_USD:
        return False
    newest = market.trail[-2:]
    return bool(newest) and newest[-1][0] > since_ms and (len(newest) < 2 or newest[0][0] <= since_ms)


def of_market(market: Market) -> Suppression | None:
    """What speaks against trusting a market at all, apart from the age of its price."""
    if is_clock_uncertain(market):
        return Suppression.CLOCK_UNCERTAIN
    if market.health.is_halted:
        return Suppression.SYMBOL_HALTED
    if market.health.is_warming:
        return Suppression.WARMING
    if not market.health.is_identity_sure:
        return Suppression.IDENTITY_UNSURE
    return Suppression.GAP_OPEN if market.health.gaps_open else None
