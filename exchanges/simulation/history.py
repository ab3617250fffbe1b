"""Candles from before the market began: drawn once per day and split downwards, so that every larger
candle is exactly the fold of its smaller ones (turnover apart) and the last one joins the live price."""

from __future__ import annotations

import math
import random
from typing import Protocol

from exchanges.simulation.listing import BUCKET_MS, DAY_MS, Bar, Listing, fold

DEPTH_DAYS = 500
HALF_HOUR_MS = 1_800_000
FOUR_HOURS_MS = 14_400_000
SIGMA_5M = 12.2e-4
BRIDGE = 0.75  # visiting the parent's extremes adds to the children's ranges; this takes it off again
STAGES = {FOUR_HOURS_MS: DAY_MS, HALF_HOUR_MS: FOUR_HOURS_MS, BUCKET_MS: HALF_HOUR_MS}
CACHED_BLOCKS = 400
USUAL_QUOTE = 900.0  # an average trade, in quote


class Past(Protocol):
    """What was before the prints: candles up to `joint_ms`."""

    joint_ms: int

    def bar(self, length_ms: int, open_ms: int) -> Bar | None:
        """The candle of `[open_ms, open_ms + length_ms)`, which must end by the joint; None before all."""
        ...


class NoPast:
    """The past of what is first listed in the bucket of `joint_ms`."""

    def __init__(self, joint_ms: int) -> None:
        self.joint_ms = joint_ms

    def bar(self, length_ms: int, open_ms: int) -> Bar | None:
        """Nothing."""
        return None


class History:
    """One listing's past, a pure function of the seed, ending at `joint_ms` with the price `joint`."""

    def __init__(self, listing: Listing, seed: int, joint_ms: int, joint: int) -> None:
        self._listing = listing
        self._seed = f"{seed}|{listing.asset}|history"  # not the venue: all venues share an asset's past
        self.joint_ms = joint_ms
        self._day_ms = joint_ms - joint_ms % DAY_MS
        self._today = self._backwards(BUCKET_MS, self._day_ms, joint_ms, joint)
        edge = self._today[min(self._today)].open if self._today else joint
        first = self._day_ms - DEPTH_DAYS * DAY_MS
        self._days = self._backwards(DAY_MS, first, self._day_ms, edge)
        self._blocks: dict[tuple[int, int], list[Bar]] = {}

    def bar(self, length_ms: int, open_ms: int) -> Bar | None:
        """The candle of `[open_ms, open_ms + length_ms)`, which must end by the joint; None before all."""
        if open_ms < self._day_ms - DEPTH_DAYS * DAY_MS:
            return None
        if open_ms >= self._day_ms:
            return self._fold(length_ms, open_ms, BUCKET_MS)
        if length_ms == DAY_MS:
            return self._days[open_ms]
        parent_ms = STAGES.get(length_ms)
        if parent_ms is not None:
            block_ms = open_ms - open_ms % parent_ms
            return self._block(parent_ms, block_ms, length_ms)[(open_ms - block_ms) // length_ms]
        unit_ms = next(u for u in (DAY_MS, FOUR_HOURS_MS, HALF_HOUR_MS, BUCKET_MS) if length_ms % u == 0)
        return self._fold(length_ms, open_ms, unit_ms)

    def _fold(self, length_ms: int, open_ms: int, unit_ms: int) -> Bar:
        if unit_ms == length_ms:
            return self._today[open_ms]
        opens = range(open_ms, open_ms + length_ms, unit_ms)
        found = [b for o in opens if (b := self.bar(unit_ms, o)) is not None]
        return fold(open_ms, found, found[0].open)

    def _block(self, parent_ms: int, open_ms: int, child_ms: int) -> list[Bar]:
        key = (parent_ms, open_ms)
        found = self._blocks.get(key)
        if found is None:
            parent = self.bar(parent_ms, open_ms)
            if parent is None:
                raise LookupError(f"no history at {open_ms}")
            if len(self._blocks) >= CACHED_BLOCKS:
                self._blocks.clear()
            found = self._blocks[key] = self._split(parent, parent_ms, child_ms)
        return found

    def _backwards(self, length_ms: int, first_ms: int, end_ms: int, close: int) -> dict[int, Bar]:
        """A walk from the price at `end_ms` into the past, one bar a step."""
        rng = self._rng(length_ms, first_ms)
        sigma = self._sigma(length_ms)
        bars: dict[int, Bar] = {}
        for open_ms in range(end_ms - length_ms, first_ms - 1, -length_ms):
            start = self._on_tick(close * math.exp(rng.gauss(0.0, sigma)))
            high = self._on_tick(max(start, close) * (1 + abs(rng.gauss(0.0, sigma / 2))))
            low = self._on_tick(min(start, close) * (1 - min(0.5, abs(rng.gauss(0.0, sigma / 2)))))
            bar = Bar(open_ms, start, max(high, start, close), min(low, start, close), close)
            count = max(300, round(self._listing.trades_per_s * length_ms / 1000 * rng.uniform(0.6, 1.5)))
            self._fill(bar, count, rng)
            bars[open_ms] = bar
            close = start
        return bars

    def _split(self, parent: Bar, parent_ms: int, child_ms: int) -> list[Bar]:
        """Children whose fold is the parent: a bridge that visits the parent's extremes."""
        rng = self._rng(parent_ms, parent.open_ms)
        n = parent_ms // child_ms
        sigma = self._sigma(child_ms)
        points = self._bridge(parent, n, sigma, rng)
        bars = []
        for i in range(n):
            start, end = points[i], points[i + 1]
            wick = abs(rng.gauss(0.0, sigma / 3)), abs(rng.gauss(0.0, sigma / 3))
            high = min(parent.high, max(start, end, self._on_tick(max(start, end) * (1 + wick[0]))))
            low = max(parent.low, min(start, end, self._on_tick(min(start, end) * (1 - wick[1]))))
            bars.append(Bar(parent.open_ms + i * child_ms, start, high, low, end))
        max(bars, key=lambda b: b.high).high = parent.high
        min(bars, key=lambda b: b.low).low = parent.low
        weights = [rng.uniform(0.5, 1.5) for _ in range(n)]
        lot = self._listing.lot_units
        lots = _shares(parent.volume // lot, weights)
        bought = [int(amount * rng.uniform(0.4, 0.6)) for amount in lots]
        counts = _shares(parent.trades, weights)
        for bar, amount, buys, count in zip(bars, lots, bought, counts, strict=True):
            self._price_in(bar, amount * lot, buys * lot, count)
        short = parent.buy_volume - sum(b.buy_volume for b in bars)
        for bar in bars:  # spread what rounding left over, so that taker volumes add up too
            part = max(-bar.buy_volume, min(bar.volume - bar.buy_volume, short))
            self._price_in(bar, bar.volume, bar.buy_volume + part, bar.trades)
            short -= part
        return bars

    def _bridge(self, parent: Bar, n: int, sigma: float, rng: random.Random) -> list[int]:
        steps = [rng.gauss(0.0, sigma * BRIDGE) for _ in range(n)]
        drift = (math.log(parent.close / parent.open) - sum(steps)) / n
        points, level = [parent.open], math.log(parent.open)
        for step in steps[:-1]:
            level += step + drift
            points.append(min(parent.high, max(parent.low, self._on_tick(math.exp(level)))))
        points.append(parent.close)
        peak, trough = rng.sample(range(1, n), 2)
        near, depths = sigma * 0.4, (rng.random(), rng.random())
        if max(points) < parent.high * (1 - near):
            points[peak] = self._on_tick(parent.high * (1 - near * depths[0]))
        if min(points) > parent.low * (1 + near):
            points[trough] = self._on_tick(parent.low * (1 + near * depths[1]))
        return [min(parent.high, max(parent.low, p)) for p in points]

    def _fill(self, bar: Bar, trades: int, rng: random.Random) -> None:
        listing = self._listing
        usual = USUAL_QUOTE / (bar.close / 10**listing.price_places) * 10**listing.lot_places
        lots = max(trades, int(usual * trades * rng.uniform(0.7, 1.3)) // listing.lot_units)
        buys = int(lots * rng.uniform(0.4, 0.6))
        self._price_in(bar, lots * listing.lot_units, buys * listing.lot_units, trades)

    def _price_in(self, bar: Bar, volume: int, buy_volume: int, trades: int) -> None:
        mean = (bar.open + bar.high + bar.low + bar.close) // 4
        bar.volume, bar.buy_volume, bar.trades = volume, buy_volume, trades
        bar.turnover = self._listing.quote_amount(mean, volume)
        bar.buy_turnover = self._listing.quote_amount(mean, buy_volume)

    def _sigma(self, length_ms: int) -> float:
        scale = 0.02 if self._listing.asset.startswith("USD") else 1.0
        return SIGMA_5M * scale * math.sqrt(length_ms / BUCKET_MS)

    def _on_tick(self, price: float) -> int:
        step = self._listing.tick_units
        return max(step, round(price / step) * step)

    def _rng(self, length_ms: int, open_ms: int) -> random.Random:
        return random.Random(f"{self._seed}|{length_ms}|{open_ms}")  # noqa: S311 - a market, not a secret


def _shares(whole: int, weights: list[float]) -> list[int]:
    """`whole` in parts that follow the weights, each at least one."""
    spare = whole - len(weights)
    total = sum(weights)
    parts = [1 + int(spare * w / total) for w in weights]
    parts[-1] += whole - sum(parts)
    return parts
