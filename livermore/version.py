"""The program's version, which is the newest one named in CHANGELOG.md."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

_CHANGELOG = Path(__file__).resolve().parent.parent / "CHANGELOG.md"


@cache
def version() -> str:
    """The newest version in the change log, such as `0.1.0`; raises `ValueError` when it names none."""
    found = re.search(r"^## \[(\d+\.\d+\.\d+)\]", _CHANGELOG.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise ValueError(f"{_CHANGELOG.name} names no version")
    return found[1]
