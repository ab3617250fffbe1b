"""`start_exchange NAME`: have a stream host run an exchange, or be that host."""

from __future__ import annotations

import json
import logging
import threading
import time
from argparse import ArgumentParser
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from django.core.management.base import CommandError

from exchanges import observed
from exchanges.control import Verb
from exchanges.host import Host
from exchanges.lifecycle import Event, State
from exchanges.management.ordering import GEO, HELD, TIMEOUT, OrderCommand, numbers, shown
from exchanges.management.serving import serve
from exchanges.observed import Change
from exchanges.pilot import Pilot
from livermore.command_line import USAGE

_FAILURES: Mapping[str, int] = {Event.BLOCKED: GEO, Event.REFUSED: GEO, Event.HELD: HELD}

_FIRST_TICK_WITHIN_S = 3.0


@dataclass
class _Outcome:
    """What became of the stream that this process runs."""

    has_streamed: bool = False
    exit_code: int = 0
    message: str = ""


class Command(OrderCommand):
    """With no live host for the exchange, or with --here, this process becomes the host."""

    help = "Start an exchange's stream and wait until it streams."
    verb = Verb.START

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The arguments of contract §2."""
        super().add_arguments(parser)
        parser.add_argument("--here", action="store_true", help="be the stream host, in the foreground")

    def order(self, options: Mapping[str, Any]) -> None:
        """Send to a host where there is one."""
        if options["here"] and options["on"]:
            raise CommandError("--here and --on exclude each other; give one of them", returncode=USAGE)
        target = options["on"] or observed.choose_host(options["name"])
        if options["here"] or not target:
            self._be_the_host(options, target)
        else:
            self.send(options, target)

    def _be_the_host(self, options: Mapping[str, Any], other: str) -> None:
        slug = options["name"]
        why = "asked to run it here" if other else f"no live stream host serves {slug}"
        self.say(options, f"{slug}: {why}: this process is now its stream host, until Ctrl-C")
        # The states are printed already; standard error is for what goes wrong.
        logging.getLogger("exchanges").setLevel(logging.WARNING)
        outcome = _Outcome()

        def watch(host: Host, change: Change) -> None:
            self.say(options, shown(asdict(change)))
            if change.event in _FAILURES:
                outcome.exit_code, outcome.message = _FAILURES[change.event], change.reason
                host.stop()
            elif change.state == State.STREAMING and not outcome.has_streamed:
                outcome.has_streamed = True
                threading.Thread(target=self._report, args=(options, host.runners[slug].pilot), daemon=True).start()

        def give_up(host: Host) -> None:
            if not outcome.has_streamed:
                pilot = host.runners[slug].pilot if slug in host.runners else None
                state = f"still {pilot.state} ({pilot.reason})" if pilot else "Redis does not answer"
                outcome.exit_code, outcome.message = TIMEOUT, f"{slug} does not stream in time: {state}"
                host.stop()

        def begin(host: Host) -> None:
            if options["wait"]:
                timer = threading.Timer(options["wait"], give_up, (host,))
                timer.daemon = True
                timer.start()

        serve(watch, autostart=[slug], only=[slug], begin=begin)
        if outcome.exit_code and options["json"] and not outcome.has_streamed:
            self._print({"exchange": slug, "error": {"message": outcome.message}})
        if outcome.exit_code:
            raise CommandError(outcome.message, returncode=outcome.exit_code)

    def _report(self, options: Mapping[str, Any], pilot: Pilot) -> None:
        """Say what streams, once its first tick is there or a quiet market has had its moment."""
        deadline = time.monotonic() + _FIRST_TICK_WITHIN_S
        while pilot.answer()["first_tick_ms"] is None and time.monotonic() < deadline:
            time.sleep(0.1)
        if options["json"]:
            self._print(pilot.answer())
        else:
            self.say(options, f"{pilot.plan.slug}: streaming{numbers(pilot.answer())}")

    def _print(self, answer: Mapping[str, Any]) -> None:
        self.stdout.write(json.dumps(answer))
        self.stdout.flush()
