"""Our candle against the venue's own kline: which fields differ. Pure; nothing is nearly equal."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, localcontext

from livermore.core.candle import Candle, Kline
from livermore.core.exact import EXACT, plain

FIELDS = ("open", "high", "low", "close", "volume", "turnover", "trades", "taker_buy_volume")
"""In this order they are the bits of a mask, the first the lowest: what is stored must not be reordered."""

Difference = tuple[str, str]
"""Our value and the venue's, as plain text."""


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """What a venue does to the turnover in its klines: `step` is the unit of its quote precision.

    `is_each_cut`: every execution's amount is cut to the step before it is added (`Venue.turnover_cut`);
    else only the sum is shortened to it (`Venue.turnover_shortened`).
    """

    step: Decimal
    is_each_cut: bool

    def explains(self, candle: Candle, kline: Kline) -> bool:
        """Does the kline's turnover differ from ours by nothing but this?

        We know only the sum of an aggregate's executions, so each of them may have lost less than one step
        more than we can see. Whether a sum is cut or rounded no page tells.
        """
        if candle.turnover is None or kline.turnover is None:
            return False
        with localcontext(EXACT):
            surplus = candle.turnover - kline.turnover
            if self.is_each_cut:
                return Decimal(0) <= surplus < self.step * max(1, candle.trades or 0)
            return abs(surplus) < self.step


def differences(candle: Candle, kline: Kline, arithmetic: Arithmetic | None = None) -> dict[str, Difference]:
    """The fields in which they differ, each with both values; empty when the venue says the same.

    A field that the venue's kline does not tell (None) or that our candle cannot know is not compared.
    Without `arithmetic` the venue's turnover is exact.
    """
    found: dict[str, Difference] = {}
    for name in FIELDS:
        ours, theirs = getattr(candle, name), getattr(kline, name)
        if ours is not None and theirs is not None and ours != theirs:
            found[name] = (_text(ours), _text(theirs))
    if "turnover" in found and arithmetic is not None and arithmetic.explains(candle, kline):
        del found["turnover"]
    return found


def mask(found: dict[str, Difference]) -> int:
    """One bit a field."""
    return sum(1 << at for at, name in enumerate(FIELDS) if name in found)


def names(mask: int | None) -> list[str] | None:
    """The fields of a mask; None where nothing has been compared."""
    return None if mask is None else [name for at, name in enumerate(FIELDS) if mask >> at & 1]


def flat(open_ms: int, price: Decimal) -> Kline:
    """What a venue that omits intervals without trades says by saying nothing."""
    none = Decimal(0)
    return Kline(open_ms, price, price, price, price, none, none, 0, none)


def _text(value: Decimal | int) -> str:
    return plain(value) if isinstance(value, Decimal) else str(value)
