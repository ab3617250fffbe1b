"""Which markets take part, and how old their prices may be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from candles.signals.section import max_age_ms, primary_markets
from tests.candles.market import market


@pytest.mark.parametrize(("pause_ms", "expected"), [(100, 2_000), (1_000, 5_000), (4_000, 20_000), (9_000, 30_000)])
def test_five_usual_pauses_within_two_and_thirty_seconds(pause_ms: int, expected: int) -> None:
    trail = [(i * pause_ms, 1.0) for i in range(50)]
    assert max_age_ms(trail, 50 * pause_ms) == expected


def test_only_the_last_fifteen_minutes_count() -> None:
    old = [(i * 10_000, 1.0) for i in range(100)]
    recent = [(3_000_000 + i * 1_000, 1.0) for i in range(10)]
    assert max_age_ms(old + recent, 3_010_000) == 5_000


def test_a_market_seen_once_has_the_shortest_limit() -> None:
    assert max_age_ms([(0, 1.0)], 0) == 2_000


def test_the_best_ranked_market_of_each_exchange_takes_part() -> None:
    usdt, usdc = market("beta", "BTC-USDT", {0: 1.0}), market("beta", "BTC-USDC", {0: 1.0})
    usd = market("alpha", "BTC-USD", {0: 1.0})
    chosen = primary_markets([replace(usdc, rank=2), usdt, usd])
    assert [m.leg.key for m in chosen] == ["alpha:BTC-USD", "beta:BTC-USDT"]
