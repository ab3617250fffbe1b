"""The symbols that a person names: found however they are written, and where there is none, what was perhaps meant."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches

from livermore.core.errors import InvalidInput
from symbols.models import ExchangeSymbol

ALL = "all"
"""Stands for every symbol that is streamed."""
_NEAREST = 3
_LAST = 1 << 31
_MOST_TEXT = 65
_BETWEEN = re.compile(r"[-_/:. ]")


class UnknownSymbol(InvalidInput):
    """No symbol of this name; `nearest` are those most like it."""

    def __init__(self, message: str, nearest: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.nearest = list(nearest)


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
        rows = [named(exchange, name) for name in dict.fromkeys(wanted)]
    by_name = {row.name: row for row in rows}
    return sorted(by_name.values(), key=lambda row: (row.tier or _LAST, row.rank or _LAST, row.name))


def named(exchange: str, text: str) -> ExchangeSymbol:
    """The row that a canonical or native name means, with or without separators, in either case.

    Raises `UnknownSymbol`, also where several symbols are written alike.
    """
    listed = ExchangeSymbol.objects.filter(exchange_id=exchange)
    # A name may have belonged to another native before; the one that trades comes first.
    called = listed.filter(name=text.upper()).order_by("-is_trading")
    row: ExchangeSymbol | None = called.first() or listed.filter(native=text).first()
    return row if row is not None else _squeezed(exchange, text)


def _squeezed(exchange: str, text: str) -> ExchangeSymbol:
    listed = ExchangeSymbol.objects.filter(exchange_id=exchange).order_by("-is_trading", "name")
    names = list(listed.values_list("pk", "name", "native"))
    if not names:
        raise UnknownSymbol(f"no symbol of {exchange} is known yet; run sync_symbols {exchange} first")
    wanted = _squeeze(text)
    alike = {pk: name for pk, name, native in names if wanted in (_squeeze(name), _squeeze(native))}
    if len(set(alike.values())) == 1:
        return listed.get(pk=next(iter(alike)))
    accepted = f"{exchange} has no symbol {text[:_MOST_TEXT]!r}; accepted: BASE-QUOTE"
    if alike:
        raise UnknownSymbol(f"{text!r} may be any of {' '.join(alike.values())}", list(alike.values()))
    known = [name for _, name, _ in names]
    nearest = get_close_matches(text.upper()[:_MOST_TEXT], known, n=_NEAREST, cutoff=0.0)
    raise UnknownSymbol(f"{accepted} or {ALL}; nearest: {' '.join(nearest)}", nearest)


def _squeeze(name: str) -> str:
    return _BETWEEN.sub("", name).upper()
