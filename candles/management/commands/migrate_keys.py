"""`migrate_keys plan|copy|verify|cutover|rollback|purge`: the predecessor's keys into ours, while all runs."""

from __future__ import annotations

import getpass
import json
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Mapping
from typing import Any

from django.core.management.base import CommandError

from candles.legacy_models import LegacyMigration, Mode
from candles.management.ticking import ticking
from candles.services import cutover, migration
from candles.services import legacy_walk as walk
from candles.services.legacy_walk import Report
from livermore.command_line import USAGE, OneLineCommand
from livermore.core.errors import InvalidInput, Refused

NOT_CLEAN = 1
COPIED_A_SECOND, PURGED_A_SECOND = 2_000, 1_000
_MODES: Mapping[str, tuple[Mode, ...]] = {
    "plan": (),
    "copy": (),
    "verify": (),
    "cutover": (Mode.DUAL,),
    "rollback": (Mode.DUAL, Mode.SHARED),
    "purge": (Mode.SHARED,),
}
"""Exchanges in these modes are meant where none is named; else all that have such keys."""


class Command(OneLineCommand):
    """Every step can be broken off and repeated; nothing of the predecessor's is deleted before `purge`."""

    help = "Take the predecessor's user-scoped candle keys over into the exchange-scoped ones, exchange by exchange."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The arguments of contract §2."""
        parser.add_argument("action", choices=list(_MODES), metavar="|".join(_MODES))
        parser.add_argument("names", nargs="*", metavar="NAME", help="exchanges (all that have such keys)")
        parser.add_argument("--rate", type=_rate, metavar="N", help="keys a second at most (copy 2,000, purge 1,000)")
        parser.add_argument("--dry-run", action="store_true", help="purge: count what would be deleted")
        parser.add_argument(
            "--accept-loss", action="store_true", help="verify: do without unknown symbols and unreadable bars"
        )
        parser.add_argument("--json", action="store_true", help="one JSON line on standard output for each exchange")

    def handle(self, **options: Any) -> None:
        """One exchange after the other; exit 0, or 1 where one is not clean."""
        try:
            names = self._exchanges(options["names"], options["action"])
        except InvalidInput as error:
            raise CommandError(str(error), returncode=USAGE) from None
        if not names:
            self.stdout.write("nothing to do: Redis holds no candle keys of the predecessor's")
        act: Callable[[str, dict[str, Any]], bool] = getattr(self, f"_{options['action']}")
        try:
            unclean = [name for name in names if not act(name, options)]
        except Refused as error:
            raise CommandError(str(error), returncode=NOT_CLEAN) from None
        except KeyboardInterrupt:
            raise CommandError("interrupted; what was done is kept, the same command goes on", returncode=130) from None
        if unclean:
            raise CommandError(f"not clean: {' '.join(unclean)}", returncode=NOT_CLEAN)

    def _exchanges(self, named: list[str], action: str) -> list[str]:
        if named:
            return [walk.row(name).exchange_id for name in named]
        found = walk.numbers_found()
        rows = list(LegacyMigration.objects.all())
        strange = {n: count for n, count in found.items() if n not in {row.number for row in rows}}
        for number, count in sorted(strange.items()):
            self.stderr.write(f"{count:,} keys of exchange number {number}, which no exchange here has, are left alone")
        wanted = [row for row in rows if row.mode in _MODES[action]]
        return [row.exchange_id for row in wanted or rows if found[row.number] or row in wanted]

    def _plan(self, name: str, options: dict[str, Any]) -> bool:
        row = walk.row(name)
        report = self._walked(lambda told: migration.plan(name, told), name, options)
        seconds = report.done / (options["rate"] or COPIED_A_SECOND)
        words = (
            f"{name} (number {row.number}, {row.mode}): {report.keys:,} keys, {report.done:,} of them with "
            f"{report.bars:,} bars have a place here; copying takes {seconds:,.0f} s or more"
        )
        return self._told(report, words, options)

    def _copy(self, name: str, options: dict[str, Any]) -> bool:
        cutover.begin(name, _user())
        rate = options["rate"] or COPIED_A_SECOND
        report = self._walked(lambda told: migration.copy(name, rate=rate, told=told), name, options)
        words = (
            f"{name} is dual: {report.done:,} keys copied, {report.skipped:,} of them before; {report.added:,} bars "
            f"new, {report.raised:,} raised"
        )
        return self._told(report, words, options)

    def _verify(self, name: str, options: dict[str, Any]) -> bool:
        accepts = options["accept_loss"]
        report = self._walked(lambda told: migration.verify(name, accepts_loss=accepts, told=told), name, options)
        words = (
            f"{name}: {report.clean:,} of {report.clean + report.blocking:,} keys whole "
            f"({cutover.parity(walk.row(name))}), {report.missing:,} bars missing, {report.older:,} older, "
            f"{report.unreadable:,} unreadable"
        )
        return self._told(report, words, options)

    def _cutover(self, name: str, options: dict[str, Any]) -> bool:
        cutover.cut_over(name, _user())
        self._say({"exchange": name, "mode": Mode.SHARED}, f"{name} is shared: only our keys are written", options)
        return True

    def _rollback(self, name: str, options: dict[str, Any]) -> bool:
        began = time.monotonic()
        mode, written = cutover.roll_back(name, _user())
        spent_s = round(time.monotonic() - began, 2)
        words = f"{name} is {mode} again after {spent_s} s; {written:,} candles written to the predecessor's keys"
        self._say({"exchange": name, "mode": mode, "written": written, "seconds": spent_s}, words, options)
        return True

    def _purge(self, name: str, options: dict[str, Any]) -> bool:
        rate, is_dry = options["rate"] or PURGED_A_SECOND, options["dry_run"]
        report = self._walked(
            lambda told: cutover.purge(name, rate=rate, is_dry=is_dry, by=_user(), told=told), name, options
        )
        words = f"{name}: {report.purged:,} keys {'would be ' if is_dry else ''}purged"
        if report.clean < report.done:
            words += f", {report.done - report.clean:,} stay: bars of theirs are missing here"
        return self._told(report, words, options, is_clean=report.clean == report.done)

    def _walked(self, work: Callable[[migration.Told], Report], name: str, options: dict[str, Any]) -> Report:
        seen = Report(name)

        def told(report: Report) -> None:
            nonlocal seen
            seen = report

        with ticking(sys.stderr, lambda: _line(options["action"], seen)):
            return work(told)

    def _told(self, report: Report, words: str, options: dict[str, Any], *, is_clean: bool | None = None) -> bool:
        counts = ("keys", "bars", "done", "clean", "missing", "older", "unreadable", "added", "raised", "purged")
        said = {name: getattr(report, name) for name in counts}
        said |= {"exchange": report.exchange, "mode": walk.row(report.exchange).mode, "stays": dict(report.stays)}
        self._say(said, words, options)
        if not options["json"]:
            for why, count in report.stays.items():
                if count:
                    self.stdout.write(f"  {count:,} have no place: {why}, such as {', '.join(report.examples[why])}")
        return not report.blocking if is_clean is None else is_clean

    def _say(self, said: dict[str, Any], words: str, options: dict[str, Any]) -> None:
        self.stdout.write(json.dumps(said) if options["json"] else words)


def _line(action: str, report: Report) -> str:
    left_s = report.left_s()
    eta = "" if left_s is None else f", {left_s:,.0f} s left"
    return f"{report.exchange}: {action} {report.keys:,} of {report.total:,} keys, {report.bars:,} bars{eta}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _rate(text: str) -> float:
    if not text.isdigit() or not 1 <= int(text) <= 1_000_000:
        raise ArgumentTypeError(f"{text!r} is no number of keys from 1 to 1000000")
    return float(text)
