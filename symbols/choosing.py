"""The symbols that a person names: found however they are written, and where there is none, what was perhaps meant."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from livermore.core.errors import InvalidInput
from symbols.models import ExchangeSymbol

ALL = "all"
"""Stands for every symbol that is streamed."""
_NEAREST = 3
_LAST = 1 << 31


def choose(exchange: str, wanted: Sequence[str]) -> list[ExchangeSymbol]:
    """The rows of these canonical or native names, or of everything streamed: Tier 1 first, by rank.

    Raises `InvalidInput` that names what is accepted and the three nearest names.
    """
    if ALL in wanted:
        rows = list(ExchangeSymbol.objects.filter(exchange_id=exchange).streamed())
        if not rows:
            steps = f"run sync_symbols {exchange}, then refresh_tier1 {exchange}"
            raise InvalidInput(f"{exchange} streams no symbol yet; {steps}")
    else:
        rows = [_named(exchange, name) for name in dict.fromkeys(wanted)]
    by_name = {row.name: row for row in rows}
    return sorted(by_name.values(), key=lambda row: (row.tier or _LAST, row.rank or _LAST, row.name))


def _named(exchange: str, name: str) -> ExchangeSymbol:
    listed = ExchangeSymbol.objects.filter(exchange_id=exchange)
    # A name may have belonged to another native before; the one that trades comes first.
    called = listed.filter(name=name.upper()).order_by("-is_trading")
    row: ExchangeSymbol | None = called.first() or listed.filter(native=name).first()
    if row is not None:
        return row
    names = list(listed.order_by("-is_trading", "name").values_list("name", flat=True))
    if not names:
        raise InvalidInput(f"no symbol of {exchange} is known yet; run sync_symbols {exchange} first")
    nearest = get_close_matches(name.upper(), names, n=_NEAREST, cutoff=0.0)
    raise InvalidInput(
        f"{exchange} has no symbol {name!r}; accepted: BASE-QUOTE or {ALL}; nearest: {' '.join(nearest)}"
    )
