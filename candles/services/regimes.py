"""Which venue led which in the last quarter hour: kept in Redis, told with events and over the API."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from candles.signals.event import Event
from candles.signals.lead_lag import Lead
from exchanges.state import state_redis
from livermore.core import signal_keys

LIFE_S = 1_800


def learn(base: str, leads: Collection[Lead], active: Collection[str], now_ms: int) -> None:
    """Keep what the window that ends now says of every pair; `active` are the identities of open regimes."""
    fields = {}
    for lead in leads:
        names = lead.leader.market.leg.key, lead.follower.market.leg.key
        pair = "|".join(sorted(names))
        is_regime = any(f"|{names[0]}|{names[1]}|" in identity for identity in active)
        fields[pair] = json.dumps(_public(base, lead, names, now_ms) | {"is_regime": is_regime})
    if fields:
        state_redis().hset(signal_keys.regime(base), mapping=fields)
        state_redis().expire(signal_keys.regime(base), LIFE_S)


def known(base: str) -> list[dict[str, Any]]:
    """Of every pair of this base, in the order of their names."""
    found = state_redis().hgetall(signal_keys.regime(base))
    return [json.loads(found[pair]) for pair in sorted(found)]


def of_pair(of: Event) -> dict[str, Any] | None:
    """What is known of an event's two legs, as signals.md §4.6 tells it; None without a regime."""
    if of["follower"] is None:
        return None
    names = [f"{leg['exchange']}:{leg['symbol']}" for leg in (of["leader"], of["follower"])]
    text = state_redis().hget(signal_keys.regime(of["base"]), "|".join(sorted(names)))
    told = json.loads(text) if text else {}
    if not told.get("is_regime"):
        return None
    return {"leader_leads": told["leader"] == names[0], "lag_s": told["lag_s"], "llr": told["llr"]}


def _public(base: str, lead: Lead, names: tuple[str, str], now_ms: int) -> dict[str, Any]:
    return {
        "base": base,
        "leader": names[0],
        "follower": names[1],
        "status": str(lead.verdict),
        "llr": None if lead.llr is None else f"{min(lead.llr, 1e6):.2f}",
        "rho": None if lead.rho is None else f"{lead.rho:.2f}",
        "lag_s": None if lead.lag_ms is None else f"{lead.lag_ms / 1_000:.2f}",
        "arrival_lag_s": None if lead.arrival_lag_ms is None else f"{lead.arrival_lag_ms / 1_000:.2f}",
        "is_actionable": lead.is_actionable,
        "ticks": [len(lead.leader.by_venue), len(lead.follower.by_venue)],
        "window_end_ms": now_ms,
    }
