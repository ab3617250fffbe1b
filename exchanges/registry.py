"""Which venues exist: one line per exchange, and what installed packages offer; imported when first asked for."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from pkgutil import resolve_name
from typing import cast

from exchanges.venue import Venue
from livermore.core.errors import InvalidInput

ENTRY_POINTS = "livermore.venues"
"""Group of the entry points by which another package offers a venue: `<slug> = "<module>:VENUE"`."""

OURS = {
    "binance": "exchanges.binance",
    "binance_us": "exchanges.binance_us",
    "coinbase": "exchanges.coinbase",
    "kucoin": "exchanges.kucoin",
    "mexc": "exchanges.mexc",
}


def slugs() -> tuple[str, ...]:
    """Every exchange that has an adapter, in alphabetical order."""
    return tuple(sorted(_adapters()))


@cache
def venue(slug: str) -> Venue:
    """The venue of an exchange; raises `InvalidInput` that names what exists."""
    if slug not in _adapters():
        raise InvalidInput(f"exchange {slug!r} does not exist; accepted: {' '.join(slugs())}")
    return cast(Venue, resolve_name(_adapters()[slug]))


@cache
def _adapters() -> Mapping[str, str]:
    """Slug → where its `VENUE` is; no installed package takes the place of one of ours."""
    installed = {point.name: point.value for point in entry_points(group=ENTRY_POINTS)}
    return installed | {slug: f"{package}:VENUE" for slug, package in OURS.items()}
