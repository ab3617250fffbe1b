"""Commands that send a durable order for one exchange and wait for its result."""

from __future__ import annotations

import getpass
import json
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.core.management.base import CommandError

from exchanges import control, observed
from exchanges.control import Result, Status, Verb
from exchanges.lifecycle import State
from exchanges.services import usable
from exchanges.state import state_redis, unavailable
from livermore import orders
from livermore.command_line import TEMPORARY, USAGE, OneLineCommand
from livermore.core import keys
from livermore.core.errors import InvalidInput

GEO, HELD, TIMEOUT, UNKNOWN = 3, 4, TEMPORARY, 6
EXIT_CODES: Mapping[str, int] = {
    "ok": 0,
    "impossible": USAGE,
    "geo": GEO,
    "held": HELD,
    "lost": HELD,
    "disabled": UNKNOWN,
}
"""Contract §2 by result code; every other result came too late or not at all."""

DEFAULT_WAIT_S = 60.0
_LONGEST_WAIT_S = 86_400
_GRACE_S = 3.0


class OrderCommand(OneLineCommand):
    """Sends `verb`; what it prints and how it exits is contract §2."""

    verb: Verb

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The arguments all orders share."""
        parser.add_argument("name", metavar="NAME", help="exchange")
        parser.add_argument("--wait", type=seconds, default=None, metavar="S", help="give up after S seconds (60)")
        if not self.verb.is_errand:
            parser.add_argument("--on", default="", metavar="HOST", help="only this stream host may run it")
        add_key(parser)
        parser.add_argument("--json", action="store_true", help="one JSON line on standard output, at the end")

    def handle(self, **options: Any) -> None:
        """Send, print each state while waiting, exit by the result."""
        with one_line_errors():
            usable(options["name"])
            self.order(options)

    def order(self, options: Mapping[str, Any]) -> None:
        """Send the verb to the host that should have it."""
        if self.verb.is_errand:
            self.send(options, "")
        else:
            self.send(options, options["on"] or observed.choose_host(options["name"]))

    def send(self, options: Mapping[str, Any], target: str) -> None:
        """Send to `target` ("" = whoever comes up first) and wait for the end."""
        slug, wait_s = options["name"], options["wait"] or DEFAULT_WAIT_S
        others = "the workers" if self.verb.is_errand else "the first stream host that comes up"
        self.say(options, f"{slug}: {self.verb} sent to {target or others}")
        with watching(slug) as heard:
            command_id = orders.order(
                slug, self.verb, issued_by=asker(), wait_s=wait_s, target=target, idempotency_key=options["key"]
            )
            deadline = time.monotonic() + wait_s + _GRACE_S
            while True:
                for change in heard():
                    self.say(options, shown(change))
                result = control.result(command_id)
                if result.status.is_final or time.monotonic() > deadline:
                    break
        self.finish(options, result)

    def finish(self, options: Mapping[str, Any], result: Result) -> None:
        """Print the result; raises `CommandError` with the exit code unless it is good."""
        slug = options["name"]
        code = 0 if result.status is Status.DONE else EXIT_CODES.get(result.code, TIMEOUT)
        message = result.message or f"no host ended the command in time; it is {result.status}"
        if options["json"]:
            failure = {} if code == 0 else {"error": {"code": result.code or "timeout", "message": message}}
            self.stdout.write(json.dumps({"exchange": slug, **result.answer, **failure}))
        if code:
            raise CommandError(message, returncode=code)
        self.say(options, f"{slug}: {message}{numbers(result.answer)}")

    def say(self, options: Mapping[str, Any], line: str) -> None:
        """One line for people; nothing with --json, where standard output is one JSON line."""
        if not options["json"]:
            self.stdout.write(line)
            self.stdout.flush()


def add_key(parser: ArgumentParser) -> None:
    """The argument that makes one command of several tries."""
    parser.add_argument("--key", default="", metavar="KEY", help="the same key and command are carried out once")


def asker() -> str:
    """Who types, as commands remember it."""
    return f"cli:{getpass.getuser()}"


def seconds(text: str) -> float:
    """A waiting time; argparse shows the message."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= _LONGEST_WAIT_S:
        raise ArgumentTypeError(f"{text!r} is no number of seconds above 0 and up to {_LONGEST_WAIT_S}")
    return value


def shown(change: Mapping[str, Any]) -> str:
    """A change of state as a line."""
    reason = f" ({change['reason']})" if change["reason"] else ""
    return f"{change['exchange']}: {change['state']}{reason}"


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Wrong names become one line with their exit code."""
    try:
        yield
    except InvalidInput as error:
        raise CommandError(str(error), returncode=UNKNOWN) from None


@contextmanager
def watching(exchange: str) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Listens to an exchange; the function waits a moment and gives the changes heard since."""
    with unavailable():
        listener = state_redis().pubsub(ignore_subscribe_messages=True)
        listener.subscribe(keys.channel_exchange(exchange))

    @unavailable()
    def heard() -> list[dict[str, Any]]:
        changes = []
        message = listener.get_message(timeout=0.2)
        while message is not None:
            said = json.loads(message["data"])
            changes += [said] if said.get("kind") == "state" else []
            message = listener.get_message(timeout=0.0)
        return changes

    try:
        yield heard
    finally:
        listener.close()


def numbers(answer: Mapping[str, Any]) -> str:
    """Symbols, sockets, first tick and epoch of a result, to be put behind its message."""
    if answer.get("state") != State.STREAMING:
        return ""
    first = answer.get("first_tick_ms")
    tick = f", first tick after {first} ms" if first is not None else ""
    return f": {answer['symbols']} symbols on {answer['sockets']} sockets{tick}, epoch {answer['lease_epoch']}"
