"""`refresh_tier1 [NAME]`: rank an exchange's symbols and set its Tier 1."""

from __future__ import annotations

from typing import Any

from exchanges.venue import Rest
from livermore.command_line import OneLineCommand
from symbols import tier1
from symbols.management import per_exchange


class Command(OneLineCommand):
    """What beat runs every hour, by hand."""

    help = "Rank the symbols of an exchange, or of every exchange that streams, by turnover in dollars."
    add_arguments = staticmethod(per_exchange.add_name)

    def handle(self, *args: Any, name: str | None, **options: Any) -> None:
        """Print one line of counts per exchange."""
        per_exchange.run(self, name, _refresh)


def _refresh(slug: str, rest: Rest) -> str:
    r = tier1.refresh(slug, rest)
    return (
        f"{slug}: {r.tier1} in Tier 1 with {r.coverage:.1%} of the turnover, {len(r.entered)} entered, "
        f"{len(r.left)} left; {r.ranked} ranked, {r.unranked} not"
    )
