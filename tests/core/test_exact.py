"""Numbers as people write them: no exponent, no trailing zeros, nothing lost."""

from __future__ import annotations

import random
from decimal import Decimal, Inexact, localcontext

import pytest

from livermore.core.exact import EXACT, plain


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("0", "0"), ("-0", "0"), ("-0.000", "0"), ("0E+3", "0"), ("0E-18", "0"), ("100", "100"), ("1E+3", "1000"),
        ("1.23E-9", "0.00000000123"), ("1.500", "1.5"), ("10.0", "10"), ("-10.50", "-10.5"),
        ("0.000000000000000001", "0.000000000000000001"), ("1E+24", "1" + "0" * 24),
        ("12345678901234567890.123456789012345678", "12345678901234567890.123456789012345678"),
    ],
)  # fmt: skip
def test_a_number_is_written_plainly(number: str, text: str) -> None:
    assert plain(Decimal(number)) == text


def test_nothing_is_lost_and_equal_numbers_are_written_alike() -> None:
    draw = random.Random(8)
    for _ in range(10_000):
        number = Decimal(draw.randrange(-(10**38), 10**38)).scaleb(-draw.randrange(19), EXACT)
        text = plain(number)
        assert Decimal(text) == number
        assert "E" not in text
        with localcontext(EXACT):
            assert plain(number * Decimal("1.000")) == text


def test_an_inexact_result_is_refused() -> None:
    with localcontext(EXACT), pytest.raises(Inexact):
        Decimal(1) / Decimal(3)
