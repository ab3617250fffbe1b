"""Indicators by name: every module of this package that has an `INDICATORS` tuple takes part."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType

import candles.indicators as package
from candles.indicators.indicator import Indicator
from livermore.core.errors import InvalidInput


@cache
def indicators() -> Mapping[str, Indicator]:
    """All indicators by name, in the order of their modules."""
    found: dict[str, Indicator] = {}
    for module in iter_modules(package.__path__, f"{package.__name__}."):
        for indicator in getattr(import_module(module.name), "INDICATORS", ()):
            found[indicator.name] = indicator
    return MappingProxyType(found)


def indicator(name: str) -> Indicator:
    """Raises `InvalidInput` that lists what exists."""
    try:
        return indicators()[name]
    except KeyError:
        accepted = " ".join(indicators())
        raise InvalidInput(f"indicator {name!r} does not exist; accepted: {accepted}") from None
