"""The course of prices: one common factor, one own walk per asset, and moves that reach venues at
different times."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

SECOND_US = 1_000_000
KEPT_S = 900
COMMON_BPS = 0.5  # per root second; with the own walk an expected 5m range of about 20 bps
OWN_BPS = 0.5

ANCHORS_USD = {
    "BTC": 64_000.0,
    "ETH": 3_050.0,
    "SOL": 152.0,
    "XRP": 2.12,
    "DOGE": 0.181,
    "ADA": 0.652,
    "LINK": 18.3,
    "AVAX": 25.4,
    "LTC": 95.2,
    "DOT": 4.12,
    "PEPE": 0.00000123,
    "NMR": 15.6,
    "BSV": 27.4,
    "USDC": 1.0,
}
"""Where each asset stands at the market's beginning; stable ones have no walk of their own."""

WALKS_WITH = {"BSV": "LTC"}
"""Assets that share another's walk: listing one more leaves every other path as it was."""

DOLLARS = {"USD", "USDC"}
TETHER = "USDT"
TETHER_BPS = (-8.0, 5.0)


@dataclass(frozen=True, slots=True)
class Move:
    """A change of `bps` (log) within `over_us`, at each venue from its own time on."""

    base: str
    bps: float
    over_us: int
    starts_us: dict[str, int]

    def at(self, venue: str, time_us: int) -> float:
        """How much of it the venue has seen, in bps."""
        start = self.starts_us.get(venue)
        if start is None or time_us <= start:
            return 0.0
        return self.bps * min(1.0, (time_us - start) / self.over_us)


class Prices:
    """The price of every asset at every venue and moment; a function of the seed and of the moves.

    Must be asked in roughly rising order: what is more than 15 minutes behind the newest question is
    forgotten.
    """

    def __init__(self, seed: int, origin_us: int) -> None:
        self._random = random.Random(f"{seed}|prices")  # noqa: S311 - a market, not a secret
        self._origin_us = origin_us
        self._assets = sorted(set(ANCHORS_USD) - DOLLARS - set(WALKS_WITH))
        self._common = 0.0
        self._own = dict.fromkeys(self._assets, 0.0)
        self._tether = -3.0
        self._first_s = 0
        self._grid: dict[str, list[float]] = {a: [0.0] for a in [*self._assets, TETHER]}
        self._grid[TETHER] = [self._tether]
        self._moves: list[Move] = []
        self._settled: dict[tuple[str, str], float] = {}

    def add(self, move: Move) -> None:
        """From now on every price includes this move."""
        self._moves.append(move)

    def price(self, venue: str, base: str, quote: str, time_us: int) -> float:
        """The middle of the venue's market, in its quote."""
        if base == TETHER:
            return self.tether(time_us)
        bps = 0.0
        if base not in DOLLARS:
            bps = self._walk(base, time_us) + self._settled.get((venue, base), 0.0)
            for move in self._moves:
                if move.base == base:
                    bps += move.at(venue, time_us)
        usd = ANCHORS_USD[base] * math.exp(bps / 1e4)
        return usd / self.tether(time_us) if quote == TETHER else usd

    def tether(self, time_us: int) -> float:
        """What one USDT is worth in USD."""
        return 1.0 + self._walk(TETHER, time_us) / 1e4

    def settle(self, before_us: int) -> None:
        """Turn moves that ended everywhere into a constant, and forget the old path."""
        for move in [m for m in self._moves if max(m.starts_us.values()) + m.over_us < before_us]:
            self._moves.remove(move)
            for venue in move.starts_us:
                key = (venue, move.base)
                self._settled[key] = self._settled.get(key, 0.0) + move.bps
        surplus = (before_us - self._origin_us) // SECOND_US - self._first_s - KEPT_S
        if surplus > KEPT_S:
            for points in self._grid.values():
                del points[:surplus]
            self._first_s += surplus

    def _walk(self, asset: str, time_us: int) -> float:
        second, rest = divmod(time_us - self._origin_us, SECOND_US)
        index = second - self._first_s
        points = self._grid[WALKS_WITH.get(asset, asset)]
        while index + 1 >= len(points):
            self._step()
        return points[index] + (points[index + 1] - points[index]) * rest / SECOND_US

    def _step(self) -> None:
        """Every asset's next second; a faint pull home keeps a week's run near the anchors."""
        gauss = self._random.gauss
        self._common = self._common * 0.99999 + gauss(0.0, COMMON_BPS)
        for asset in self._assets:
            self._own[asset] = self._own[asset] * 0.99999 + gauss(0.0, OWN_BPS)
            self._grid[asset].append(self._common + self._own[asset])
        low, high = TETHER_BPS
        drift = (-3.0 - self._tether) * 0.002 + gauss(0.0, 0.06)
        self._tether = min(high, max(low, self._tether + drift))
        self._grid[TETHER].append(self._tether)
