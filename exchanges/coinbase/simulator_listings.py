"""What the simulated Coinbase trades: steps as the venue has them, paces so that some are busy and one is quiet."""

from __future__ import annotations

from exchanges.simulation.listing import Listing


def _listed(base: str, tick: str, lot: str, per_s: float) -> Listing:
    return Listing("coinbase", f"{base}-USD", base, "USD", tick, lot, per_s, time_step_us=1)


LISTINGS = tuple(
    _listed(*row)
    for row in (
        ("BTC", "0.01", "0.00000001", 5.0),
        ("ETH", "0.01", "0.00000001", 4.0),
        ("SOL", "0.01", "0.00000001", 2.5),
        ("XRP", "0.0001", "0.000001", 2.0),
        ("DOGE", "0.00001", "0.1", 1.5),
        ("ADA", "0.0001", "0.00000001", 1.0),
        ("LINK", "0.001", "0.01", 1.0),
        ("AVAX", "0.01", "0.00000001", 0.9),
        ("LTC", "0.01", "0.00000001", 0.8),
        ("DOT", "0.001", "0.00000001", 0.7),
        ("PEPE", "0.00000001", "1", 0.6),
        ("NMR", "0.01", "0.0001", 0.006),
        ("USDT", "0.00001", "0.01", 0.6),
    )
)
