"""What of a venue's instrument list differs from what we knew, in words, for those who follow its symbols."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from exchanges.metadata import Difference
from livermore.core.exact import plain
from symbols.models import ExchangeSymbol

_STEPS = ("tick", "lot")


def moves(
    known: Mapping[str, ExchangeSymbol], rows: Iterable[ExchangeSymbol], delisted: Iterable[ExchangeSymbol]
) -> list[Difference]:
    """Symbols that are no longer listed, and of those in a tier halts and other steps; `known` is as it was before."""
    found = [Difference(f"{row.name} listing", row.status or "trading", "not listed") for row in delisted]
    for row in rows:
        before = known.get(row.native)
        if before is None or before.tier is None:
            continue
        if before.is_trading and not row.is_trading:
            found.append(Difference(f"{before.name} listing", before.status or "trading", row.status or "halted"))
        else:
            found += [
                Difference(f"{row.name} {step}", plain(ours), plain(theirs))
                for step in _STEPS
                if (ours := _number(before, step)) != (theirs := _number(row, step)) and ours
            ]
    return found


def _number(row: ExchangeSymbol, name: str) -> Decimal:
    return Decimal(getattr(row, name) or 0)
