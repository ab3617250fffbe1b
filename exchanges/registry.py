"""Which venues exist: one line per exchange, imported when first asked for."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import cast

from exchanges.venue import Venue
from livermore.core.errors import InvalidInput

_VENUES = {
    "binance": "exchanges.binance",
    "binance_us": "exchanges.binance_us",
    "coinbase": "exchanges.coinbase",
    "kucoin": "exchanges.kucoin",
    "mexc": "exchanges.mexc",
}


def slugs() -> tuple[str, ...]:
    """Every exchange that has an adapter, in alphabetical order."""
    return tuple(sorted(_VENUES))


@cache
def venue(slug: str) -> Venue:
    """The venue of an exchange; raises `InvalidInput` that names what exists."""
    if slug not in _VENUES:
        raise InvalidInput(f"exchange {slug!r} does not exist; accepted: {' '.join(slugs())}")
    return cast(Venue, import_module(_VENUES[slug]).VENUE)
