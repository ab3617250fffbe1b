"""Scripted venues for signal tests: price paths become ticks, trails and cross-sections."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cache
from math import inf
from typing import Any

from candles.signals import leader_move
from candles.signals.lifecycle import advance
from candles.signals.reference import Leg, RateMarket
from candles.signals.section import Clock, CrossSection, Market
from candles.signals.state import State

START_MS = 1_770_000_000_000
TICK_MS = 500
PAST_S = 700
LONGEST_S = 500
MEASURED = Clock()

Path = Callable[[float], float | None]
"""Price at a number of seconds after the start; None while the venue is silent."""


def ramp(before: float, bps: float, start_s: float, end_s: float) -> Path:
    """A price that moves by `bps` between two moments and rests otherwise."""

    def path(at_s: float) -> float:
        share = min(max((at_s - start_s) / (end_s - start_s), 0.0), 1.0)
        return before * (1 + bps * share / 1e4)

    return path


def leg(exchange: str, symbol: str, price: float | str, at_ms: int = START_MS, **changes: Any) -> Leg:
    """A leg that just traded."""
    base, quote = symbol.split("-")
    fields = {"native": symbol, "base": base, "quote": quote, "price": Decimal(str(price))}
    times = {"event_ms": at_ms, "received_ms": at_ms + 40}
    return Leg(exchange=exchange, symbol=symbol, **{**fields, **times, **changes})


def market(exchange: str, symbol: str, prices: Mapping[int, float], **changes: Any) -> Market:
    """A market whose price changed so many seconds before `START_MS`, and ticked every second."""
    newest = prices[max(prices)]
    trail = []
    for second in range(-PAST_S, 1):
        known = [at for at in prices if at <= second]
        price = prices[max(known) if known else min(prices)]
        trail.append((START_MS + 1_000 * second, price))
    leg_changes = changes.pop("leg", {})
    settled = {"taker_bps": 10.0, "atr_bps": 30.0, "is_atr_converged": True}
    return Market(leg(exchange, symbol, newest, **leg_changes), tuple(trail), **{**settled, **changes})


@dataclass(frozen=True)
class Venue:
    """One scripted venue; its own clock may be wrong, and what we believe of it may be wrong too."""

    exchange: str
    path: Path
    symbol: str = "BTC-USD"
    clock_error_ms: int = 0
    clock: Clock = MEASURED
    latency_ms: int = 40

    def market(self, now_ms: int) -> Market | None:
        """What an evaluator knows of it at `now_ms`."""
        ticks, seconds = _ticks(self)
        arrived = now_ms - self.latency_ms + self.clock_error_ms, inf
        known = ticks[: bisect_right(ticks, arrived)]
        if not known:
            return None
        end = bisect_right(seconds, arrived)
        stamp, price = known[-1]
        trail = seconds[max(0, end - PAST_S) : end]
        trail = trail if trail and trail[-1] == known[-1] else (*trail, known[-1])
        received = stamp - self.clock_error_ms + self.latency_ms
        newest = leg(self.exchange, self.symbol, price, stamp, received_ms=received)
        settled = Market(newest, trail, taker_bps=10.0, atr_bps=30.0, is_atr_converged=True, spread_bps=1.0)
        return replace(settled, clock=self.clock)


Points = tuple[tuple[int, float], ...]


@cache
def _ticks(venue: Venue) -> tuple[Points, Points]:
    """Every tick on the venue's clock, and of those the last of each second."""
    ticks = []
    for number in range(-PAST_S * 1_000 // TICK_MS, LONGEST_S * 1_000 // TICK_MS):
        price = venue.path(number * TICK_MS / 1_000)
        if price is not None:
            ticks.append((START_MS + number * TICK_MS + venue.clock_error_ms, round(price, 2 if price > 100 else 6)))
    return tuple(ticks), tuple(t for t in ticks if t[0] % 1_000 == 1_000 - TICK_MS)


@dataclass
class Played:
    """What came out of a scenario."""

    events: list[dict[str, Any]] = field(default_factory=list)
    suppressed: Counter[str] = field(default_factory=Counter)

    def phases(self) -> list[tuple[str, str, str, int]]:
        """Openings and closings as (phase or outcome, leader, direction, window)."""
        return [
            (e.get("outcome", e["phase"]), e["leader"]["exchange"], e["direction"], e["window_s"])
            for e in self.events
            if e["phase"] != "updated"
        ]


def play(
    *venues: Venue,
    seconds: int,
    every_ms: int = 250,
    rates: Callable[[int], tuple[RateMarket, ...]] = lambda now_ms: (),
) -> Played:
    """Evaluate every so often; between evaluations the states travel as JSON, as through a store."""
    played = Played()
    stored = "{}"
    for now_ms in range(START_MS, START_MS + 1_000 * seconds, every_ms):
        markets = tuple(m for v in venues if (m := v.market(now_ms)) is not None)
        section = CrossSection("BTC", now_ms, markets, rates(now_ms))
        states = {identity: State.from_dict(f) for identity, f in json.loads(stored).items()}
        taken = advance(leader_move.RULES, states, section)
        stored = json.dumps({identity: state.to_dict() for identity, state in taken.states.items()})
        played.events.extend(taken.events)
        played.suppressed.update(str(reason) for reason in taken.suppressed)
    return played
