"""`rebuild_window [NAME]`: the hot window once more from the database, after the state Redis was emptied."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser
from typing import Any

import exchanges.services
from candles.management.ticking import ticking
from candles.services.rebuild import Rebuilt, rebuild
from exchanges.management.ordering import one_line_errors
from livermore.command_line import OneLineCommand


class Command(OneLineCommand):
    """Asks no venue; what the window has and is as new stays, so it may run at any time."""

    help = "Put the newest candles of every streamed symbol from the database back into the hot window."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The one argument."""
        parser.add_argument("name", nargs="?", metavar="NAME", help="exchange; every enabled one when left out")

    def handle(self, *args: Any, name: str | None, **options: Any) -> None:
        """Print progress and what came of it; exit 0."""
        if name:
            with one_line_errors():
                exchanges.services.usable(name)
        began = time.monotonic()
        seen = Rebuilt()

        def told(so_far: Rebuilt) -> None:
            nonlocal seen
            seen = so_far

        with ticking(sys.stderr, lambda: f"{len(seen.series):,} of {seen.total:,} series, {seen.candles:,} candles"):
            done = rebuild([name] if name else [], told)
        self.stdout.write(
            f"{name or 'every exchange'}: {len(done.series):,} series of {done.candles:,} candles in the table, "
            f"{done.restored:,} put back, in {time.monotonic() - began:.1f} s"
        )
