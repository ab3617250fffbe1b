"""Exact decimal numbers: how they are added and written back."""

from __future__ import annotations

from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow

EXACT = Context(prec=100, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow])
"""Arithmetic in which rounding is impossible: an inexact result raises."""

CEILING = Decimal("1e24")
"""No price or quantity reaches this; a larger one is nonsense (and could overflow 100 digits)."""


def plain(number: Decimal) -> str:
    """The number as people write it: no exponent, no trailing zeros (`1.23E-9` → `0.00000000123`)."""
    text = format(number, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text if text != "-0" else "0"
