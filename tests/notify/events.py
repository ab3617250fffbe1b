"""Events as the evaluator publishes them (signals.md §4.6)."""

from __future__ import annotations

from typing import Any

SIGNAL = {
    "schema": "signal.v1",
    "event_id": "5b6f0d3a-6a53-5d0e-9f64-8e6d1a6c3a01",
    "kind": "LEADER_MOVE",
    "phase": "opened",
    "base": "BTC",
    "direction": "up",
    "window_s": 60,
    "leader": {"exchange": "coinbase", "symbol": "BTC-USD", "price": "64256.00"},
    "follower": {"exchange": "binance", "symbol": "BTC-USDT", "price": "63962.79"},
    "metrics": {"move_leader_bps": "39.92", "move_follower_bps": "2.00", "z": "2.98", "remaining_bps": "37.92"},
    "costs": {"local_taker_bps": "10", "local_spread_bps": "1.0", "net_entry_bps": "27.42"},
    "quality": {"regime": None},
    "links": {"home": "https://www.binance.com/en/trade/BTC_USDT", "explain": "/signals/x/"},
}


def event(number: int = 1, **changed: Any) -> dict[str, Any]:
    """The worked example of signals.md, numbered, with some fields changed."""
    return SIGNAL | {"event_id": f"5b6f0d3a-6a53-5d0e-9f64-{number:012d}"} | changed


def ending(number: int = 1, outcome: str = "converged") -> dict[str, Any]:
    """Its end."""
    return event(number, phase="closed", outcome=outcome, duration_ms=7_400)


ALERT = {
    "schema": "alert.v1", "event_id": "a", "kind": "macdv", "phase": "raised", "exchange": "kucoin", "base": "BTC",
    "symbol": "BTC-USDT", "timeframe": "1h", "label": "level_-200", "direction": "down", "value": -210.25,
    "price": "64000.1", "revised": None,
}  # fmt: skip


def alert(**changed: Any) -> dict[str, Any]:
    """An alert on MACD-V, as far as rules and messages look at it."""
    return ALERT | changed
