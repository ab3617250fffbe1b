"""Whose a Redis key is: its shape and its parts, read back with the very functions of `keys` that build it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from functools import cache
from typing import NamedTuple

from livermore.core import keys, legacy_keys

_BUILDERS = (keys, legacy_keys)
_WITH_COLONS = ("{batch}", "{connection}", "{name}", "{what}")
"""Last parts that are no words of ours and may hold colons."""


class Owner(NamedTuple):
    """A key's shape, such as `ticker:{exchange}:{symbol}`, and what stands in it by name."""

    shape: str
    parts: Mapping[str, str]


def owner(key: str) -> Owner | None:
    """Whose a key is; None for one that nothing here builds."""
    legacy = legacy_keys.parse(key)
    if legacy is not None:
        return Owner("candles:{user}:{number}:{symbol}:{timeframe}", {n: str(v) for n, v in legacy._asdict().items()})
    segments = key.split(":")
    for shape in _shapes().get(segments[0], ()):
        names = shape.split(":")
        said = segments
        if names[-1] in _WITH_COLONS:
            said = [*segments[: len(names) - 1], ":".join(segments[len(names) - 1 :])]
        if len(said) == len(names) and all(n == s or (n[0] == "{" and s) for n, s in zip(names, said, strict=True)):
            return Owner(shape, {n[1:-1]: s for n, s in zip(names, said, strict=True) if n[0] == "{"})
    return None


@cache
def _shapes() -> Mapping[str, list[str]]:
    """By first segment; shapes with more segments, and with more fixed ones, come first."""
    found: dict[str, list[str]] = {}
    for shape in sorted(set(_built()), key=lambda s: (-s.count(":"), s.count("{"), s)):
        found.setdefault(shape.partition(":")[0], []).append(shape)
    return found


def _built() -> Iterator[str]:
    for module in _BUILDERS:
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ != module.__name__ or name.startswith(("_", "parse", "channel", "number_of")):
                continue
            arguments = {parameter: f"{{{parameter}}}" for parameter in inspect.signature(function).parameters}
            shape = function(**arguments)
            if "*" not in shape:
                yield shape
