"""`stream_host`: the long-lived process that is idle until told which exchanges to stream."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from exchanges.host import Host
from exchanges.lifecycle import Event
from exchanges.management.ordering import GEO
from exchanges.management.serving import serve
from exchanges.observed import Change
from exchanges.services import usable
from livermore.command_line import USAGE, OneLineCommand
from livermore.core.errors import InvalidInput


class Command(OneLineCommand):
    """Serves every exchange that has an adapter; SIGTERM drains all streams and exits 0."""

    help = "Wait for commands and run the streams they start."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The arguments of contract §2."""
        parser.add_argument("--name", default="", metavar="N", help="this host's name (default: the machine's)")
        parser.add_argument("--autostart", default="", metavar="a,b", help="start these without being told")

    def handle(self, **options: Any) -> None:
        """Serve until a signal; exit 3 when geography refuses everything that should start by itself."""
        name, wanted = options["name"], {slug for slug in options["autostart"].replace(" ", "").split(",") if slug}
        if any(sign in name for sign in "|/: "):
            raise CommandError(f"--name {name!r} must not contain spaces or any of | / :", returncode=USAGE)
        try:
            for slug in sorted(wanted):
                usable(slug)
        except InvalidInput as error:
            raise CommandError(f"--autostart: {error}", returncode=USAGE) from None
        refused: dict[str, str] = {}

        def watch(host: Host, change: Change) -> None:
            if change.exchange in wanted and change.event == Event.BLOCKED:
                refused[change.exchange] = change.reason
            elif change.event == Event.ALLOWED:
                wanted.clear()
            if wanted and refused.keys() == wanted:
                host.stop()

        serve(watch, name=name, autostart=frozenset(wanted))
        if wanted and refused.keys() == wanted:
            raise CommandError("; ".join(refused.values()), returncode=GEO)
