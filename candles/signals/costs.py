"""What a move still to come is worth after the costs of acting on it (signals.md §4.1, §4.3.1)."""

from __future__ import annotations

from dataclasses import dataclass

from candles.signals.reference import spread_bps
from candles.signals.section import Market


@dataclass(frozen=True, slots=True)
class Costs:
    """All in bps. `spread` is None where the local book is unknown; the nets then contain no spread.

    `net_entry` is after buying locally, `net_round` after selling again; `two_leg` is what selling on the
    leader and buying locally would leave.
    """

    taker: float
    spread: float | None
    net_entry: float
    net_round: float
    two_leg: float


def local_costs(remaining_bps: float, leader: Market, local: Market, gross_bps: float | None = None) -> Costs:
    """The costs of acting on the local market alone, and the two-leg figure beside them.

    `gross_bps` is what both legs bring before fees, where that is not the remaining move.
    """
    gross = remaining_bps if gross_bps is None else gross_bps
    spread = spread_bps(local.leg) if local.spread_bps is None else local.spread_bps
    return Costs(
        taker=local.taker_bps,
        spread=spread,
        net_entry=remaining_bps - local.taker_bps - (spread or 0.0) / 2,
        net_round=remaining_bps - 2 * local.taker_bps - (spread or 0.0),
        two_leg=gross - leader.taker_bps - local.taker_bps,
    )
