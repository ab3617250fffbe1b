"""A plugin that prints at the end of a run which venue keeps which rule, whichever process tried it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

RULES = (*(f"C{number:02d}" for number in range(11)), "recordings")
KEPT, BROKEN, UNTRIED = "✓", "✗", "–"

_ABOUT = "venue and rule"
_verdicts: defaultdict[tuple[str, str], set[str]] = defaultdict(set)


def subject(item: pytest.Item) -> tuple[str, str] | None:
    """The venue and the rule that a test speaks of, if it does."""
    module = item.path.stem
    parameters: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
    if found := re.fullmatch(r"test_(?:(.+)_)?recordings", module):
        slug = found[1] or parameters.get("slug")
        return (slug, "recordings") if slug else None
    if module != "test_contract" or "slug" not in parameters:
        return None
    rule = parameters.get("rule") or item.name[len("test_") :][:3].upper()
    return parameters["slug"], rule


def table() -> Iterator[str]:
    """The lines: venues down, rules across."""
    width = max(len(slug) for slug, _ in _verdicts)
    yield " ".join([" " * width, *RULES])
    for slug in sorted({slug for slug, _ in _verdicts}):
        yield " ".join([slug.ljust(width), *(mark(_verdicts[slug, rule]).center(len(rule)) for rule in RULES)])


def mark(outcomes: set[str]) -> str:
    """One cell: a rule is kept when some test of it passed and none failed."""
    if "failed" in outcomes:
        return BROKEN
    return KEPT if "passed" in outcomes else UNTRIED


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[Any]:
    """Have the report of a test say of which venue and rule it speaks."""
    report = yield
    if about := subject(item):
        report.user_properties.append((_ABOUT, list(about)))
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember what became of it; called where the summary is printed."""
    about = dict(report.user_properties).get(_ABOUT)
    if about and (report.when == "call" or report.outcome != "passed"):
        slug, rule = about
        _verdicts[slug, rule].add(report.outcome)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table, if any of its tests ran."""
    if _verdicts:
        terminalreporter.section("venues and rules (their meaning: tests/venues/test_contract.py)")
        for line in table():
            terminalreporter.write_line(line.rstrip())
