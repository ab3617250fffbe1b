"""`manage.py up`: the whole of Livermore in one terminal, until Ctrl-C."""

from __future__ import annotations

import fcntl
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import CommandError

from exchanges import registry
from livermore.command_line import USAGE, OneLineCommand
from livermore.run import Run


class Command(OneLineCommand):
    """Starts every process, keeps them running, and stops them in order."""

    help = "Start everything in this terminal: Redis, workers, beat, web, Flower, streams and the simulators."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The arguments of contract §2."""
        parser.add_argument("--live", action="store_true", help="connect to the real venues, start no simulator")
        parser.add_argument("--exchanges", default="", metavar="a,b", help="only these (default: all enabled)")
        parser.add_argument("--no-flower", action="store_true")
        parser.add_argument("--seed", type=int, help="of the simulated market; the same seed, the same prices")

    def handle(self, **options: Any) -> None:
        """Run until SIGINT or SIGTERM; returns (exit code 0) when nothing is left."""
        wanted = [name for name in options["exchanges"].replace(" ", "").split(",") if name]
        if unknown := sorted(set(wanted) - set(registry.slugs())):
            accepted = " ".join(registry.slugs())
            raise CommandError(f"unknown exchange {' '.join(unknown)}; accepted: {accepted}", returncode=USAGE)
        with _only_one(settings.VAR_DIR):
            run = Run(self._show, has_flower=not options["no_flower"], seed=options["seed"])
            run.whole_life(wanted, is_live=options["live"])

    def _show(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


@contextmanager
def _only_one(var_dir: Path) -> Iterator[None]:
    var_dir.mkdir(parents=True, exist_ok=True)
    with (var_dir / "up.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CommandError(f"Livermore is already running on {var_dir}: stop it first", returncode=USAGE) from None
        yield
