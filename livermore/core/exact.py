"""Exact decimal numbers: how they are read from text, added and written back."""

from __future__ import annotations

from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow

from livermore.core.errors import FrameRejected

EXACT = Context(prec=100, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow])
"""Arithmetic in which rounding is impossible: an inexact result raises."""

CEILING = Decimal("1e24")
"""No price or quantity reaches this; a larger one is nonsense (and could overflow 100 digits)."""

FLOOR = Decimal("1e-18")
"""The smallest step stored; a finer one would not survive NUMERIC(38,18)."""


def plain(number: Decimal) -> str:
    """The number as people write it: no exponent, no trailing zeros (`1.23E-9` → `0.00000000123`)."""
    text = format(number, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text if text != "-0" else "0"


def positive(text: str) -> Decimal:
    """A finite number above zero and below `CEILING`, exactly as written.

    Raises `FrameRejected` with what was wrong.
    """
    try:
        number = Decimal(text)
        fits = 0 < number < CEILING and number.as_tuple().exponent >= -18  # type: ignore[operator]
    except (InvalidOperation, TypeError, ValueError):
        raise FrameRejected("not a number") from None
    if not fits:
        raise FrameRejected("number out of range")
    return number
