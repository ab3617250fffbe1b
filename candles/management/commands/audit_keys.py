"""`audit_keys`: what the state Redis holds by shape, and the keys of what does not exist any more."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from candles.services.key_audit import audit
from livermore.command_line import OneLineCommand

SHOWN = 20


class Command(OneLineCommand):
    """Reads only; what to do about orphans is a human's decision, most of them expire by themselves."""

    help = "Count the state Redis's keys and bytes by shape, and name the orphans."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """As JSON, or in words."""
        parser.add_argument("--json", action="store_true", help="one JSON line on standard output")

    def handle(self, **options: Any) -> None:
        """Exit 0, or 1 where there are orphans."""
        found = audit()
        if options["json"]:
            orphans = [one._asdict() for one in found.orphans]
            shapes = {shape: {"keys": n, "bytes": found.bytes[shape]} for shape, n in sorted(found.keys.items())}
            self.stdout.write(json.dumps({"shapes": shapes, "orphans": orphans, "unknown": found.unknown}))
        else:
            for shape, count in sorted(found.keys.items()):
                self.stdout.write(f"{count:>9,} keys {found.bytes[shape]:>15,} bytes  {shape}")
            for one in sorted(found.orphans)[:SHOWN]:
                self.stdout.write(f"orphan {one.key}: {one.why}")
            if found.unknown:
                self.stdout.write(f"{len(found.unknown):,} keys are not ours, such as {', '.join(found.unknown[:3])}")
        if found.orphans:
            raise CommandError(f"{len(found.orphans):,} orphans", returncode=1)
