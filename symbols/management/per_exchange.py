"""Commands that do one thing for a named exchange, or for every exchange that streams."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from django.core.management.base import BaseCommand, CommandError

import exchanges.services
from exchanges.venue import Rest
from livermore.core.errors import GeoBlocked, InvalidInput, LivermoreError, Transient

# Contract §2, as start_exchange exits.
_EXITS: tuple[tuple[type[LivermoreError], int], ...] = ((GeoBlocked, 3), (Transient, 5), (InvalidInput, 6))


def add_name(parser: argparse.ArgumentParser) -> None:
    """The one argument of such a command."""
    parser.add_argument("name", nargs="?", help="exchange; every one that streams when left out")


def run(command: BaseCommand, name: str | None, work: Callable[[str, Rest], str]) -> None:
    """Print what `work(exchange, rest)` says of each exchange; `CommandError` with the exit code otherwise."""
    try:
        slugs = [name] if name else exchanges.services.streaming()
        for slug in slugs:
            command.stdout.write(work(slug, exchanges.services.rest(slug, share=1)))
    except LivermoreError as error:
        code = next((code for kind, code in _EXITS if isinstance(error, kind)), 1)
        raise CommandError(str(error), returncode=code) from None
    if not slugs:
        command.stdout.write("No exchange streams; name the one that shall be contacted.")
