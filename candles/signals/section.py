"""The cross-section of one asset: everything an evaluation may look at, as a value."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from operator import sub
from statistics import median

from candles.signals.reference import Leg, RateMarket, Trail
from candles.signals.standing import Standing

SHORTEST_MAX_AGE_MS = 2_000
LONGEST_MAX_AGE_MS = 30_000
UPDATES_MISSED = 5
UPDATES_WINDOW_MS = 15 * 60_000


@dataclass(frozen=True, slots=True)
class Clock:
    """How far a venue's clock is ahead of ours, and how well we know; None: not measured."""

    offset_ms: int = 0
    uncertainty_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """What else is known about a market; `is_warming`: streaming for less than 60 s, `is_frozen`: VENUE_STALE."""

    is_warming: bool = False
    is_halted: bool = False
    gaps_open: int = 0
    is_identity_sure: bool = True
    is_frozen: bool = False


@dataclass(frozen=True, slots=True)
class Market:
    """One market of the asset as an evaluator sees it.

    `trail` holds reference prices in the market's own quote, on the venue's clock; it should reach back ten
    minutes or more. `taker_bps` is the fee of buying here. `atr_bps` is 1e4 · ATR26 / close of its 5m
    candles. `spread_bps` overrides what the leg's book says. `rank` orders the markets of one exchange (1 is
    the most traded): only the first takes part. `last_trade_usd` is the newest trade's worth, where known,
    `turnover_usd` what was traded in 24 hours.
    """

    leg: Leg
    trail: Trail
    taker_bps: float
    atr_bps: float | None = None
    is_atr_converged: bool = False
    spread_bps: float | None = None
    clock: Clock = Clock()
    health: Health = Health()
    rank: int = 1
    last_trade_usd: float | None = None
    turnover_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class CrossSection:
    """All markets of `base` at `now_ms` (our clock, epoch ms), and the markets that price their quotes.

    `standings` says how far two legs usually are apart, `off_peg` which quotes have an open STABLE_DEPEG.
    """

    base: str
    now_ms: int
    markets: tuple[Market, ...]
    rate_markets: tuple[RateMarket, ...] = ()
    standings: Mapping[tuple[str, str], Standing] = field(default_factory=dict)
    off_peg: frozenset[str] = frozenset()


def primary_markets(markets: Iterable[Market]) -> list[Market]:
    """The best-ranked market of each exchange, in the order of exchange names."""
    best: dict[str, Market] = {}
    for market in sorted(markets, key=lambda m: (m.leg.exchange, m.rank, m.leg.symbol)):
        best.setdefault(market.leg.exchange, market)
    return list(best.values())


def max_age_ms(trail: Trail, at_ms: int) -> float:
    """How old this market's price may be: five times its usual pause of 15 minutes, within 2…30 s."""
    start = bisect_left(trail, (at_ms - UPDATES_WINDOW_MS,))
    times = [event_ms for event_ms, _ in trail[start : bisect_right(trail, (at_ms, inf))]]
    if len(times) < 2:
        return SHORTEST_MAX_AGE_MS
    usual: float = median(map(sub, times[1:], times))
    return min(max(UPDATES_MISSED * usual, SHORTEST_MAX_AGE_MS), LONGEST_MAX_AGE_MS)
