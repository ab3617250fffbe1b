"""The Redis keys of signals: what belongs to `keys`, in a module of its own for its length."""

from __future__ import annotations


def held_back() -> str:
    """Stream of the newest candidate signals that were suppressed, each with its reason and numbers."""
    return "sig:held"


def signal_active(identity: str) -> str:
    """Gate: the event id that is open under this identity, or has just been."""
    return f"sig:active:{identity}"


def standing(base: str) -> str:
    """Hash `market|market` → how far these two usually are apart."""
    return f"sig:standing:{base}"


def regime(base: str) -> str:
    """Hash `market|market` → which of the two led in the last window, and by how much."""
    return f"sig:regime:{base}"


def bar_seen(base: str, timeframe: str) -> str:
    """The newest bar (open ms) of this asset and timeframe that was evaluated for signals."""
    return f"sig:bar:{base}:{timeframe}"


def bar_closed(base: str, timeframe: str, open_ms: int) -> str:
    """Set of exchanges at which this bar has closed."""
    return f"closed:{base}:{timeframe}:{open_ms}"
