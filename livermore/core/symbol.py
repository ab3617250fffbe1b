"""Symbols: the canonical `BASE-QUOTE` name and the map from a venue's native names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, NewType

from livermore.core.errors import InvalidInput

NativeSymbol = NewType("NativeSymbol", str)


class Symbol(NamedTuple):
    """A pair of assets; `str()` is the canonical name `BTC-USDT`, upper case, never split by guess."""

    base: str
    quote: str

    def __str__(self) -> str:
        return f"{self.base}-{self.quote}"

    @classmethod
    def parse(cls, text: str) -> Symbol:
        """Read a canonical name; raises `InvalidInput` for anything but one `BASE-QUOTE`."""
        base, dash, quote = text.strip().upper().partition("-")
        if not dash or not base or not quote or "-" in quote or ":" in text or "|" in text:
            raise InvalidInput(f"{text!r} is not a symbol; write BASE-QUOTE, such as BTC-USDT")
        return cls(base, quote)


@dataclass(frozen=True, slots=True)
class SymbolBook:
    """One exchange's native → canonical names, as a value; `version` changes when the map does."""

    exchange: str
    names: Mapping[str, str] = field(default_factory=dict)
    version: int = 0

    def native(self, symbol: str) -> str | None:
        """The native name of a canonical one, or None."""
        return next((n for n, s in self.names.items() if s == symbol), None)
