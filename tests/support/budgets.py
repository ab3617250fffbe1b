"""REST budgets for tests of what is sent, not of how much."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class OpenBudget:
    """Grants everything and remembers what it was asked and told."""

    spent: list[int] = field(default_factory=list)
    heard: list[int] = field(default_factory=list)
    closed_until_ms: int = 0

    def spend(self, weight: int) -> None:
        self.spent.append(weight)

    def told(self, used: int) -> None:
        self.heard.append(used)

    def close(self, until_ms: int) -> None:
        self.closed_until_ms = until_ms
