"""Builders of bars for indicator tests: the golden series and seeded random walks."""

from __future__ import annotations

import math
import random
from dataclasses import replace

from candles.indicators.bars import Bars
from livermore.core.candle import Reason

SLOT_MS = 300_000


def bars(rows: list[tuple[float, float, float, float]]) -> Bars:
    """Observed 5m bars of (open, high, low, close)."""
    count = len(rows)
    return Bars(
        open_ms=tuple(i * SLOT_MS for i in range(count)),
        open=tuple(r[0] for r in rows),
        high=tuple(r[1] for r in rows),
        low=tuple(r[2] for r in rows),
        close=tuple(r[3] for r in rows),
        volume=(1.0,) * count,
        turnover=tuple(r[3] for r in rows),
        reasons=(None,) * count,
    )


def golden_a(count: int = 60) -> Bars:
    """Series A of indicators.md §3.6."""
    close = [100 + 5 * math.sin(i / 5) + 0.1 * i for i in range(count)]
    rows = []
    for i in range(count):
        first = close[i - 1] if i else close[0]
        high = max(first, close[i]) + 0.5 + 0.1 * (i % 3)
        low = min(first, close[i]) - 0.5 - 0.1 * (i % 2)
        rows.append((first, high, low, close[i]))
    return bars(rows)


def silence(of: Bars, slots: range, reason: Reason = Reason.NO_TRADES) -> Bars:
    """The same bars with `slots` flat at the close before them."""
    flat = of.close[slots.start - 1]

    def column(values: tuple[float, ...], value: float) -> tuple[float, ...]:
        return tuple(value if i in slots else v for i, v in enumerate(values))

    return replace(
        of,
        open=column(of.open, flat),
        high=column(of.high, flat),
        low=column(of.low, flat),
        close=column(of.close, flat),
        volume=column(of.volume, 0.0),
        turnover=tuple(0.0 if i in slots else v for i, v in enumerate(of.turnover)),
        reasons=tuple(reason if i in slots else r for i, r in enumerate(of.reasons)),
    )


def golden_b() -> Bars:
    """Series B: A with bars 40–44 synthetic at C[39]."""
    return silence(golden_a(), range(40, 45))


def random_walk(seed: int, count: int) -> Bars:
    """A walk whose volatility wanders too, as real markets' does."""
    draw = random.Random(seed)
    price, sigma, rows = 100.0, 0.002, []
    for _ in range(count):
        sigma = min(0.01, max(0.0005, sigma * math.exp(draw.gauss(0, 0.1))))
        first = high = low = price
        for _ in range(8):
            price *= math.exp(draw.gauss(0, sigma / math.sqrt(8)))
            high, low = max(high, price), min(low, price)
        rows.append((first, high, low, price))
    traded = random.Random(seed + 1)
    volume = tuple(traded.uniform(0.5, 20) for _ in rows)
    mean = [(high + low + close) / 3 for _, high, low, close in rows]
    return replace(bars(rows), volume=volume, turnover=tuple(v * p for v, p in zip(volume, mean, strict=True)))


def tail(of: Bars, count: int) -> Bars:
    """The newest `count` bars: a window."""
    return Bars(
        open_ms=of.open_ms[-count:],
        open=of.open[-count:],
        high=of.high[-count:],
        low=of.low[-count:],
        close=of.close[-count:],
        volume=of.volume[-count:],
        turnover=of.turnover[-count:],
        reasons=of.reasons[-count:],
        revision=of.revision,
    )


def head(of: Bars, count: int) -> Bars:
    """The oldest `count` bars: what was known then."""
    return Bars(
        open_ms=of.open_ms[:count],
        open=of.open[:count],
        high=of.high[:count],
        low=of.low[:count],
        close=of.close[:count],
        volume=of.volume[:count],
        turnover=of.turnover[:count],
        reasons=of.reasons[:count],
        revision=of.revision,
    )
