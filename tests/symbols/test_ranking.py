"""Tier 1 is the largest markets in dollars, whatever their unit of account."""

from __future__ import annotations

from decimal import Decimal

import pytest

from livermore.core.symbol import Symbol
from symbols.ranking import Market, is_leveraged, rank, rate_markets, usd_rates

USD = {"USD": Decimal(1)}


def market(name: str, turnover: str, *, is_tier1: bool = False) -> Market:
    return Market(native=name, symbol=Symbol.parse(name), turnover=Decimal(turnover), is_tier1=is_tier1)


def ranks(markets, rates=USD, size=10, **kwargs):
    return {r.native: r.rank for r in rank(markets, rates, size, **kwargs)}


def tier1(markets, size):
    return {r.native for r in rank(markets, USD, size) if r.is_tier1}


def test_a_meme_coin_with_a_huge_base_volume_does_not_outrank_bitcoin():
    bitcoin = Market("BTC-USD", Symbol("BTC", "USD"), Decimal(9_000) * Decimal(64_000))
    meme = Market("MEME-USD", Symbol("MEME", "USD"), Decimal("9e12") * Decimal("1e-9"))
    assert ranks([meme, bitcoin]) == {"BTC-USD": 1, "MEME-USD": 2}


def test_a_quote_with_small_units_does_not_come_first():
    rates = {"USDT": Decimal(1), "IDR": Decimal("0.0000613")}
    got = ranks([market("BTC-IDR", "9000000000"), market("ETH-USDT", "1000000")], rates)
    assert got == {"ETH-USDT": 1, "BTC-IDR": 2}


def test_turnover_in_bitcoin_is_converted():
    [ranked] = rank([market("ETH-BTC", "12.5")], {"BTC": Decimal(64_000)}, 1)
    assert ranked.turnover_usd == Decimal(800_000)


def test_a_quote_without_a_dollar_rate_leaves_the_symbol_unranked_and_out_of_tier_1():
    by_native = {r.native: r for r in rank([market("BTC-XYZ", "99", is_tier1=True), market("BTC-USD", "1")], USD, 5)}
    assert (by_native["BTC-XYZ"].rank, by_native["BTC-XYZ"].turnover_usd) == (None, None)
    assert not by_native["BTC-XYZ"].is_tier1
    assert by_native["BTC-USD"].rank == 1


def test_a_market_without_turnover_is_not_ranked():
    assert ranks([market("BTC-USD", "0")]) == {"BTC-USD": None}


@pytest.mark.parametrize("name", ["USDC-USDT", "USDT-USD", "EUR-USDT", "EURC-USDC", "USDT-TRY", "DAI-USD"])
def test_pairs_of_stable_things_are_excluded(name):
    rates = dict.fromkeys(("USD", "USDT", "USDC", "TRY"), Decimal(1))
    assert ranks([market(name, "1000")], rates) == {name: None}


def test_leveraged_tokens_are_excluded_and_ordinary_names_are_not():
    assets = {"BTC", "ETH", "BNB", "XRP", "BTC3L", "BNBUP", "XRPDOWN", "J", "JUP", "SYRUP", "L3", "1000SATS"}
    assert {a for a in assets if is_leveraged(a, assets)} == {"BTC3L", "BNBUP", "XRPDOWN"}
    markets = [market("BTC3L-USD", "9"), market("BTC-USD", "5"), market("JUP-USD", "4")]
    assert ranks(markets) == {"BTC3L-USD": None, "BTC-USD": 1, "JUP-USD": 2}


def test_two_names_of_one_book_count_once():
    rates = {"USD": Decimal(1), "USDC": Decimal(1)}
    pair = [market("BTC-USDC", "100"), market("BTC-USD", "100"), market("SOL-USDC", "7")]
    assert ranks(pair, rates, merges_usd_usdc=True) == {"BTC-USD": 1, "SOL-USDC": 2, "BTC-USDC": None}
    assert ranks(pair, rates)["BTC-USDC"] is not None


def test_a_symbol_enters_at_n_and_leaves_after_three_refreshes_beyond_one_and_a_quarter_n():
    names = [f"A{n:02}-USD" for n in range(1, 16)]
    below: dict[str, int] = {"A12-USD": 0, "A13-USD": 0}
    members = set(below)
    seen = []
    for _ in range(3):
        markets = [
            Market(name, Symbol.parse(name), Decimal(1000 - i), name in members, below.get(name, 0))
            for i, name in enumerate(names, start=1)
        ]
        ranked = rank(markets, USD, 10)
        members = {r.native for r in ranked if r.is_tier1}
        below = {r.native: r.refreshes_below for r in ranked}
        seen.append(members - set(names[:10]))
    assert seen == [{"A12-USD", "A13-USD"}, {"A12-USD", "A13-USD"}, {"A12-USD"}]


def test_a_return_above_the_edge_is_forgiven():
    def placed(turnover: str, below: int):
        x = Market("X-USD", Symbol.parse("X-USD"), Decimal(turnover), is_tier1=True, refreshes_below=below)
        others = [market(f"A{n}-USD", str(100 - n)) for n in range(4)]
        return next(r for r in rank([x, *others], USD, 2) if r.native == "X-USD")

    assert (placed("98.5", 2).is_tier1, placed("98.5", 2).refreshes_below) == (False, 0)
    assert (placed("99.5", 2).is_tier1, placed("99.5", 2).refreshes_below) == (True, 0)


def test_a_symbol_swinging_around_the_edge_never_leaves():
    members: set[str] = {"X-USD"}
    for refresh in range(24):
        turnovers = {f"A{n}-USD": 1000 - n for n in range(12)}
        turnovers["X-USD"] = 991 if refresh % 2 else 989
        markets = [market(n, f"{t}.5" if n == "X-USD" else str(t), is_tier1=n in members) for n, t in turnovers.items()]
        members = tier1(markets, 10)
        assert "X-USD" in members


def test_the_order_of_equal_turnovers_is_by_name():
    assert ranks([market("B-USD", "1"), market("A-USD", "1")]) == {"A-USD": 1, "B-USD": 2}


def test_rates_follow_the_venues_own_prices_in_both_directions():
    prices = {
        Symbol("USDT", "USD"): Decimal("0.9992"),
        Symbol("BTC", "USD"): Decimal(64_000),
        Symbol("ETH", "USDT"): Decimal(2_000),
        Symbol("USDT", "TRY"): Decimal(40),
    }
    rates = usd_rates(["USD", "USDT", "USDC", "BTC", "ETH", "TRY", "XYZ"], prices)
    assert rates["USD"] == 1
    assert rates["USDT"] == Decimal("0.9992")
    assert rates["USDC"] == 1
    assert rates["BTC"] == 64_000
    assert rates["ETH"] == Decimal("1998.4")
    assert rates["TRY"] == Decimal("0.02498")
    assert "XYZ" not in rates


def test_one_market_per_quote_is_asked_for_and_it_is_the_busiest():
    turnovers = {
        "BTC-USDT": 900, "BTC-USDC": 40, "BTC-TUSD": 0, "ETH-BTC": 5, "USDT-TRY": 7, "USDC-TRY": 3,
        "USDC-USDT": 99, "SOL-USDT": 80, "USDT-USD": 1, "USDT-BRL": 0,
    }  # fmt: skip
    listed = {Symbol.parse(name): Decimal(turnover) for name, turnover in turnovers.items()}
    asked = rate_markets(["USD", "USDT", "USDC", "BTC", "TRY", "BRL"], listed)
    assert [str(s) for s in asked] == ["BTC-USDT", "USDT-TRY", "USDT-USD"]
