"""`sync_symbols [NAME]`: make the symbol table say what a venue lists now."""

from __future__ import annotations

from typing import Any

from exchanges.venue import Rest
from livermore.command_line import OneLineCommand
from symbols import services, tasks
from symbols.management import per_exchange


class Command(OneLineCommand):
    """What beat runs every hour, by hand."""

    help = "Fetch the instrument list of an exchange, or of every exchange that streams."
    add_arguments = staticmethod(per_exchange.add_name)

    def handle(self, *args: Any, name: str | None, **options: Any) -> None:
        """Print one line of counts per exchange."""
        per_exchange.run(self, name, _sync)


def _sync(slug: str, rest: Rest) -> str:
    r = services.sync(slug, rest)
    line = (
        f"{slug}: {r.listed} listed, {r.trading} trading, {r.created} new, {r.changed} changed, {r.delisted} delisted"
    )
    if r.conflicts:
        line += f"; left out because of their name: {' '.join(r.conflicts)}"
    if r.renamed:
        tasks.hand_over(slug, r.renamed)
        line += f"; perhaps renamed: {', '.join(f'{old} to {new}' for old, new in r.renamed)}"
    return line
