"""What a check says: a name, how bad it is, what was seen, and what puts it right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit


class Level(StrEnum):
    """`skip`: it could not, or was not to be, looked at. Only `fail` makes the whole examination fail."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line. `name` is a contract; `fix` says what to do and is empty only where nothing is to be done."""

    name: str
    level: Level
    says: str
    fix: str = ""

    def __post_init__(self) -> None:
        if self.level in (Level.WARN, Level.FAIL) and not self.fix:
            raise ValueError(f"the finding {self.name} names no fix")

    def __str__(self) -> str:
        fix = f" → {self.fix}" if self.fix else ""
        return f"{self.level:<5} {self.name:<24} {self.says}{fix}"


Check = Callable[[], Iterator[Finding]]
"""Yields findings; raises only what nobody foresaw."""


def ok(name: str, says: str) -> Finding:
    """All is well."""
    return Finding(name, Level.OK, says)


def warn(name: str, says: str, fix: str) -> Finding:
    """It works, with a risk."""
    return Finding(name, Level.WARN, says, fix)


def fail(name: str, says: str, fix: str) -> Finding:
    """It does not work, or loses something."""
    return Finding(name, Level.FAIL, says, fix)


def skip(name: str, why: str) -> Finding:
    """Not looked at."""
    return Finding(name, Level.SKIP, f"not looked at: {why}")


def shown(url: str) -> str:
    """An address without user, password and options."""
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{place}{parts.path}"
