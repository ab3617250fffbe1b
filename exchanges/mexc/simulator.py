"""MEXC as a simulated venue: what it lists."""

from __future__ import annotations

from exchanges.mexc.simulator_streams import QUIRKS, Mexc
from exchanges.simulation.listing import Listing
from exchanges.simulation.stage import Script


def _listed(base: str, tick: str, lot: str, per_s: float) -> Listing:
    """Turnovers are kept exactly and cut when shown; fills may be equal to the last digit."""
    places = len(tick.partition(".")[2]) + len(lot.partition(".")[2])
    return Listing(
        "mexc", f"{base}USDT", base, "USDT", tick, lot, per_s, bundled=0.2, alike=0.5, quote_places=places
    )


SIMULATOR = Script(
    listings=tuple(
        _listed(*row)
        for row in (
            ("BTC", "0.01", "0.000001", 2.5),
            ("ETH", "0.01", "0.00001", 1.8),
            ("SOL", "0.01", "0.0001", 1.2),
            ("XRP", "0.0001", "0.001", 1.0),
            ("DOGE", "0.00001", "0.01", 0.8),
            ("ADA", "0.0001", "0.01", 0.5),
            ("LINK", "0.001", "0.001", 0.4),
            ("AVAX", "0.001", "0.001", 0.4),
            ("LTC", "0.01", "0.0001", 0.4),
            ("DOT", "0.0001", "0.01", 0.3),
            ("PEPE", "0.000000001", "1", 0.3),
            ("NMR", "0.01", "0.01", 0.006),
            ("BSV", "0.01", "0.001", 0.1),
        )
    ),
    build=Mexc,
    quirks=QUIRKS,
)
