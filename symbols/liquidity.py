"""How liquid a market is, from what was traded alone: a score from 0 to 1 and its grade; pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from math import log1p

_WEIGHTS: Mapping[str, float] = {"turnover": 0.375, "trades": 0.375, "spread": 0.25}
_GRADES = ((0.6, "A"), (0.4, "B"), (0.2, "C"), (0.05, "D"))
_MOST_USD, _MOST_TRADES, _WIDEST_BPS = 1e9, 1e6, 100.0
FEW_TRADES = 100
_CAP = 0.35


def score(turnover_usd: Decimal | None, trades: int | None, spread_bps: float | None) -> float | None:
    """From 24 h of turnover in dollars and of trades, and the spread (bps); None where nothing is known.

    The scales are fixed, so that a score does not move when another market is listed. What is unknown is left
    out and its weight shared among the rest. Fewer than 100 trades are worth 0.35 at most.
    Source: indicators.md §3.8.
    """
    parts: dict[str, float] = {}
    if turnover_usd is not None:
        parts["turnover"] = min(1.0, log1p(float(turnover_usd)) / log1p(_MOST_USD))
    if trades is not None:
        parts["trades"] = min(1.0, log1p(trades) / log1p(_MOST_TRADES))
    if spread_bps is not None:
        parts["spread"] = min(1.0, max(0.0, 1 - spread_bps / _WIDEST_BPS))
    if not parts:
        return None
    whole = sum(_WEIGHTS[name] for name in parts)
    found = sum(_WEIGHTS[name] * value for name, value in parts.items()) / whole
    return min(found, _CAP) if trades is not None and trades < FEW_TRADES else found


def grade(score: float | None) -> str | None:
    """A to D, or F; None without a score."""
    return None if score is None else next((name for least, name in _GRADES if score >= least), "F")
