"""Grades of liquidity against fixed scales."""

from __future__ import annotations

from decimal import Decimal
from math import isclose

import pytest

from symbols.liquidity import grade, score


def test_the_largest_of_everything_is_one():
    assert score(Decimal("1e9"), 1_000_000, 0.0) == 1.0
    assert grade(score(Decimal("5e9"), 9_000_000, 0.0)) == "A"


def test_what_is_unknown_shares_its_weight_among_the_rest():
    assert score(None, None, None) is None
    assert grade(None) is None
    assert isclose(score(Decimal("1e9"), None, None), 1.0)
    both = score(Decimal("1e9"), None, 50.0)
    assert isclose(both, (0.375 * 1 + 0.25 * 0.5) / 0.625)


def test_few_trades_are_worth_little_however_large():
    assert score(Decimal("1e9"), 99, 0.0) == 0.35
    assert grade(0.35) == "C"
    assert score(Decimal("1e9"), 100, 0.0) > 0.35


@pytest.mark.parametrize(
    ("value", "name"), [(0.6, "A"), (0.59, "B"), (0.4, "B"), (0.2, "C"), (0.05, "D"), (0.04, "F"), (0.0, "F")]
)
def test_grades(value, name):
    assert grade(value) == name


def test_a_wide_spread_is_worth_nothing_and_a_negative_one_no_more_than_none():
    assert score(None, None, 150.0) == 0.0
    assert score(None, None, -3.0) == 1.0
