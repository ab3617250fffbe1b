"""The public event of a signal (signals.md §4.6): decimals as strings, unknown fields null."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Any

from candles.signals import guards
from candles.signals.costs import local_costs
from candles.signals.evaluation import Evaluation, Figures
from candles.signals.reference import DOLLAR, Rate, gap_bps
from candles.signals.section import Market
from livermore.core.exact import plain

SCHEMA = "signal.v1"

Event = dict[str, Any]


class Phase(StrEnum):
    """Where in its life an event is."""

    OPENED = "opened"
    UPDATED = "updated"
    CLOSED = "closed"


def event(of: Evaluation, since: Figures, phase: Phase, event_id: str, onset_ms: int) -> Event:
    """The event at this evaluation; `since` are the moves from its opening prices.

    `latency.eval_to_publish_ms` and `links.home` are for whoever publishes it.
    """
    return {
        "schema": SCHEMA,
        "event_id": event_id,
        "kind": str(of.kind),
        "phase": str(phase),
        "base": of.base,
        "direction": str(of.direction),
        "window_s": of.window_s,
        "timeframe": of.timeframe,
        "identity": of.identity,
        "onset_ms": onset_ms,
        "evaluated_ms": of.now_ms,
        "leader": _leg(of.leader, of.quoted[0], of.rates[0]),
        "follower": _leg(of.follower, of.quoted[1], of.rates[1]) if of.follower else None,
        "metrics": _metrics(of, since),
        "costs": _costs(of, of.follower, since) if of.follower else None,
        "quality": _quality(of),
        "history": None,
        "latency": {
            "recv_to_eval_ms": of.now_ms - max(of.leader.leg.received_ms, of.local.leg.received_ms),
            "eval_to_publish_ms": None,
        },
        "thresholds": _thresholds(of),
        "links": {"home": None, "explain": f"/signals/{event_id}/"},
        "disclaimer": "monitoring only",
    }


def _leg(market: Market, price: Decimal, rate: Rate | None) -> Event:
    leg = market.leg
    fields: Event = {
        "exchange": leg.exchange,
        "symbol": leg.symbol,
        "native": leg.native,
        "price": plain(price),
        "quote": leg.quote,
        "usd_rate": None if rate is None else _plain(round(rate.value, 8)),
    }
    if rate != DOLLAR:
        fields["usd_rate_source"] = None if rate is None else rate.source
        fields["usd_rate_age_ms"] = None if rate is None else rate.age_ms
    fields["ts_exchange"] = leg.event_ms
    fields["ts_recv"] = leg.received_ms
    fields["age_ms"] = leg.received_ms - leg.event_ms
    if leg.batch:
        fields["batch"] = leg.batch
        fields["ts_stored"] = leg.stored_ms
    return fields


def _quality(of: Evaluation) -> Event:
    is_mixed = of.leader.leg.unit != of.local.leg.unit
    markets = [of.leader, of.follower] if of.follower else [of.leader]
    uncertain = [market.clock.uncertainty_ms for market in markets]
    known = [each for each in uncertain if each is not None]
    return {
        "clock_uncertainty_ms": sum(known) if len(known) == len(uncertain) else None,
        "leader_match_rate_24h": None,
        "gaps_open": sum(market.health.gaps_open for market in markets),
        "basis_depeg": is_mixed and guards.is_depegged(of.rates),
        "regime": None,
    }


def _thresholds(of: Evaluation) -> Event:
    limits = of.thresholds
    named = limits.named
    if named is None:
        named = {
            "z": limits.z, "min_move_bps": limits.min_move_bps, "min_remaining_bps": limits.min_remaining_bps,
        }  # fmt: skip
    return {**{name: _plain(n) if isinstance(n, float) else n for name, n in named.items()}, "version": limits.version}


def _metrics(of: Evaluation, since: Figures) -> Event:
    if of.measures is not None:
        return {name: _fixed(n) if isinstance(n, float) else n for name, n in of.measures.items()}
    return {
        "move_leader_bps": _fixed(since.leader_bps),
        "move_follower_bps": _fixed(since.follower_bps),
        "z": _fixed(since.leader_bps / of.sigma_bps if of.sigma_bps else None),
        "catchup": _fixed(since.catch_up),
        "remaining_bps": _fixed(since.remaining_bps),
        "gap_bps_normalised": _fixed(gap_bps(of.now.leader, of.now.follower) if of.now else None),
        "gap_bps_raw": _fixed(gap_bps(*map(float, of.quoted))),
    }


def _costs(of: Evaluation, local: Market, since: Figures) -> Event | None:
    if of.measures is not None and of.gross_bps is None:
        return None
    costs = local_costs(since.remaining_bps, of.leader, local, of.gross_bps)
    return {
        "local_taker_bps": _plain(costs.taker),
        "local_spread_bps": _fixed(costs.spread),
        "net_entry_bps": _fixed(costs.net_entry),
        "net_round_bps": _fixed(costs.net_round),
        "two_leg_bps": _fixed(costs.two_leg),
        "transfer_note": "not needed for a local buy",
    }


def _plain(number: float) -> str:
    return plain(Decimal(repr(number)))


def _fixed(number: float | None) -> str | None:
    return None if number is None else f"{number:z.2f}"
