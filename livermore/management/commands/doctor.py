"""`doctor`: every dependency and setting, one line each, with what puts it right."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from collections import Counter
from dataclasses import asdict
from functools import partial
from typing import Any

from django.core.management import CommandError

from exchanges.management.progress import Progress
from livermore.command_line import USAGE, OneLineCommand
from livermore.doctor.examine import checks, examine
from livermore.doctor.finding import Finding, Level
from livermore.doctor.running import heartbeat

_SHOWN_AFTER_S = 2.0


class Command(OneLineCommand):
    """Prints a line per finding, or JSON; exit code 1 when any of them is `fail`."""

    help = "Check every dependency and setting; say what is wrong and what puts it right."
    requires_system_checks: list[str] = []  # they are among what is told

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The arguments of contract §2, and two for people in a hurry."""
        parser.add_argument("--json", action="store_true", help="one JSON object with all findings")
        parser.add_argument("--offline", action="store_true", help="ask no venue and no name server")
        parser.add_argument("--only", default="", metavar="a,b", help="only these checks")
        parser.add_argument("--host", default="", metavar="N", help="only whether the heart of this stream host beats")

    def handle(self, *, json: bool, offline: bool, only: str, host: str, **_: Any) -> None:
        """Examine and tell."""
        wanted = {"host": partial(heartbeat, host)} if host else checks(is_offline=offline)
        names = [name for name in only.replace(" ", "").split(",") if name]
        if unknown := sorted(set(names) - set(wanted)):
            raise CommandError(f"unknown check {' '.join(unknown)}; accepted: {' '.join(wanted)}", returncode=USAGE)
        progress = Progress(sys.stderr, after_s=_SHOWN_AFTER_S)
        found: list[Finding] = []
        for finding in examine({name: wanted[name] for name in names or wanted}, progress):
            found.append(finding)
            if not json:
                progress.end()
                self.stdout.write(str(finding))
        progress.end()
        self.stdout.write(_as_json(found) if json else _summary(found))
        if any(finding.level is Level.FAIL for finding in found):
            raise SystemExit(1)


def _summary(found: list[Finding]) -> str:
    counts = Counter(finding.level for finding in found)
    return " · ".join(f"{counts[level]} {level}" for level in Level if counts[level])


def _as_json(found: list[Finding]) -> str:
    is_well = not any(finding.level is Level.FAIL for finding in found)
    return json.dumps({"ok": is_well, "findings": [asdict(finding) for finding in found]}, ensure_ascii=False)
