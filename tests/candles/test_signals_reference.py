"""Reference prices, worth of quotes, and the worked example of signals.md §4.2."""

from __future__ import annotations

from decimal import Decimal

import pytest

from candles.signals.reference import (
    RateMarket,
    gap_bps,
    move_bps,
    price_at,
    rate_of,
    reference_price,
    spread_bps,
    usd_rates,
)
from tests.candles.market import leg

NOW = 1_770_000_000_000


def usdt(exchange: str, *points: tuple[int, float]) -> RateMarket:
    """A USDT-USD market with points so many ms ago."""
    return RateMarket(exchange, "USDT", "USD", [(NOW - ago, price) for ago, price in points])


def test_worked_example_of_quote_normalisation() -> None:
    rate = usd_rates([usdt("alpha", (2_100, 0.9992))], NOW)["USDT"]
    there = 64_150.00 * rate.value
    assert there == pytest.approx(64_098.68)
    assert gap_bps(64_210.00, there) == pytest.approx(17.37, abs=0.005)
    assert move_bps(64_210.00, there) == pytest.approx(17.35, abs=0.005)
    assert gap_bps(64_210.00, 64_150.00) == pytest.approx(9.35, abs=0.005)


def test_the_rate_is_the_median_of_the_venues_medians_with_source_and_age() -> None:
    markets = [
        usdt("alpha", (50_000, 0.9990), (20_000, 0.9991), (100, 0.5)),
        usdt("beta", (2_100, 0.9993)),
    ]
    rate = usd_rates(markets, NOW)["USDT"]
    assert rate.value == pytest.approx((0.9990 + 0.9993) / 2)
    assert (rate.source, rate.age_ms) == ("median(alpha,beta)", 2_100)


def test_a_market_silent_for_more_than_a_minute_says_nothing() -> None:
    assert "USDT" in usd_rates([usdt("alpha", (60_000, 1.0))], NOW)
    assert "USDT" not in usd_rates([usdt("alpha", (60_001, 1.0))], NOW)
    assert usd_rates([usdt("alpha", (60_001, 0.9)), usdt("beta", (1, 1.0))], NOW)["USDT"].value == 1.0


def test_a_later_price_does_not_count() -> None:
    assert usd_rates([usdt("alpha", (10, 0.99), (-10, 1.01))], NOW)["USDT"].value == 0.99


def test_usdc_is_worth_its_own_market_directly_or_through_usdt() -> None:
    through = RateMarket("beta", "USDC", "USDT", [(NOW - 500, 1.0005)])
    rates = usd_rates([through, usdt("alpha", (2_000, 0.9992))], NOW)
    assert rates["USDC"].value == pytest.approx(1.0005 * 0.9992)
    assert rates["USDC"].age_ms == 2_000
    direct = RateMarket("alpha", "USDC", "USD", [(NOW, 0.97)])
    assert usd_rates([through, direct, usdt("alpha", (0, 0.9992))], NOW)["USDC"].value == 0.97


def test_usdc_is_a_dollar_only_where_the_exchange_merges_the_books() -> None:
    rates = usd_rates([RateMarket("alpha", "USDC", "USD", [(NOW, 0.97)])], NOW)
    merged = rate_of(leg("alpha", "BTC-USDC", 1, is_usdc_usd=True), rates)
    own = rate_of(leg("beta", "BTC-USDC", 1), rates)
    assert (merged and merged.value, own and own.value) == (1.0, 0.97)
    assert rate_of(leg("beta", "BTC-EUR", 1), rates) is None


def test_reference_price_is_the_fresh_mid_else_the_fresh_trade_else_nothing() -> None:
    of = leg("alpha", "BTC-USD", "100", NOW - 3_000, bid=Decimal(101), ask=Decimal(103), book_ms=NOW - 1_000)
    assert reference_price(of, NOW, 2_000) == Decimal(102)
    assert reference_price(of, NOW + 1_500, 5_000) == Decimal(102)
    assert reference_price(of, NOW + 1_500, 2_000) is None
    assert reference_price(leg("alpha", "BTC-USD", "100", NOW), NOW, 2_000) == Decimal(100)


def test_spread_over_mid() -> None:
    of = leg("alpha", "BTC-USD", "100", bid=Decimal("99.995"), ask=Decimal("100.005"))
    assert spread_bps(of) == pytest.approx(1.0)
    assert spread_bps(leg("alpha", "BTC-USD", "100")) is None


def test_the_newest_price_at_or_before_a_moment_if_not_too_old() -> None:
    trail = [(1_000, 1.0), (2_000, 2.0), (9_000, 9.0)]
    assert price_at(trail, 999, 5_000) is None
    assert price_at(trail, 2_000, 0) == 2.0
    assert price_at(trail, 6_999, 5_000) == 2.0
    assert price_at(trail, 7_001, 5_000) is None
