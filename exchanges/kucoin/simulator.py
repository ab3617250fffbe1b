"""KuCoin as a simulated venue: what it lists."""

from __future__ import annotations

from exchanges.kucoin.simulator_streams import QUIRKS, KuCoin
from exchanges.simulation.listing import Listing
from exchanges.simulation.stage import Script


def _listed(native: str, base: str, tick: str, lot: str, per_s: float) -> Listing:
    """Turnovers are exact: as many decimals as price and size have together."""
    places = len(tick.partition(".")[2]) + len(lot.partition(".")[2])
    return Listing("kucoin", native, base, "USDT", tick, lot, per_s, bundled=0.15, quote_places=places)


SIMULATOR = Script(
    listings=tuple(
        _listed(*row)
        for row in (
            ("BTC-USDT", "BTC", "0.1", "0.00000001", 3.0),
            ("ETH-USDT", "ETH", "0.01", "0.0000001", 2.2),
            ("SOL-USDT", "SOL", "0.001", "0.0001", 1.5),
            ("XRP-USDT", "XRP", "0.0001", "0.0001", 1.2),
            ("DOGE-USDT", "DOGE", "0.00001", "0.0001", 1.0),
            ("ADA-USDT", "ADA", "0.0001", "0.0001", 0.6),
            ("LINK-USDT", "LINK", "0.0001", "0.0001", 0.5),
            ("AVAX-USDT", "AVAX", "0.001", "0.0001", 0.5),
            ("LTC-USDT", "LTC", "0.01", "0.000001", 0.4),
            ("DOT-USDT", "DOT", "0.0001", "0.0001", 0.4),
            ("PEPE-USDT", "PEPE", "0.0000000001", "1", 0.4),
            ("NMR-USDT", "NMR", "0.01", "0.0001", 0.006),
            ("BCHSV-USDT", "BSV", "0.01", "0.0001", 0.1),
        )
    ),
    build=KuCoin,
    quirks=QUIRKS,
    keeps_natives=True,
)
