"""A candidate that was held back, as people read it: who, when, why, and the numbers."""

from __future__ import annotations

from typing import Any

from candles.signals.evaluation import Evaluation, figures
from candles.signals.section import Market, max_age_ms


def held(of: Evaluation) -> dict[str, Any]:
    """Ready for JSON; bps and z are text with two decimals, null where they cannot be known."""
    return {
        "at_ms": of.now_ms,
        "reason": str(of.suppressed),
        "kind": str(of.kind),
        "base": of.base,
        "direction": str(of.direction),
        "window_s": of.window_s,
        "timeframe": of.timeframe,
        "leader": _leg(of.leader, of.now_ms),
        "follower": _leg(of.follower, of.now_ms) if of.follower else None,
        "metrics": _metrics(of),
        "usd_rates": [None if rate is None else repr(round(rate.value, 8)) for rate in of.rates],
    }


def _leg(market: Market, now_ms: int) -> dict[str, Any]:
    leg, at_ms = market.leg, now_ms + market.clock.offset_ms
    return {
        "exchange": leg.exchange,
        "symbol": leg.symbol,
        "price": str(leg.price),
        "age_ms": at_ms - leg.event_ms,
        "max_age_ms": round(max_age_ms(market.trail, at_ms)),
        "clock_uncertainty_ms": market.clock.uncertainty_ms,
        "gaps_open": market.health.gaps_open,
        "last_trade_usd": market.last_trade_usd,
    }


def _metrics(of: Evaluation) -> dict[str, Any]:
    if of.measures is not None:
        return {name: f"{n:z.2f}" if isinstance(n, float) else n for name, n in of.measures.items()}
    if of.now is None or of.before is None:
        return {}
    since = figures(of.now, of.before, of.direction)
    told = {"move_leader_bps": since.leader_bps, "move_follower_bps": since.follower_bps}
    told["remaining_bps"] = since.remaining_bps
    if of.sigma_bps:
        told["z"] = since.leader_bps / of.sigma_bps
    return {name: f"{value:z.2f}" for name, value in told.items()}
