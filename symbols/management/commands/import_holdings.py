"""`import_holdings USER NAME FILE`: take a CSV of what a user holds at an exchange, and follow it."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import CommandError, CommandParser

import exchanges.services
from livermore.command_line import USAGE, OneLineCommand
from livermore.core.errors import InvalidInput
from symbols import holdings_file

_UNKNOWN_EXCHANGE = 6  # contract §2
_ONE_TOO_MANY = holdings_file.MOST_BYTES + 1


class Command(OneLineCommand):
    """Prints one line of counts."""

    help = "Follow what a CSV says a user holds at an exchange: a column asset or symbol, and perhaps amount."

    def add_arguments(self, parser: CommandParser) -> None:
        """Who, where, what, until when."""
        parser.add_argument("user", help="user name")
        parser.add_argument("name", help="exchange")
        parser.add_argument("file", help="the CSV, or - for standard input")
        parser.add_argument("--expires", metavar="DATE", help="follow until this day begins (UTC), such as 2027-01-31")

    def handle(self, *args: Any, user: str, name: str, file: str, expires: str | None, **options: Any) -> None:
        """Nothing is taken from a file with a line that is wrong."""
        try:
            exchanges.services.usable(name)
        except InvalidInput as error:
            raise CommandError(str(error), returncode=_UNKNOWN_EXCHANGE) from None
        owner = get_user_model().objects.filter(username=user).first()
        if owner is None:
            names = " ".join(get_user_model().objects.order_by("username").values_list("username", flat=True)[:10])
            said = f"user {user!r} does not exist; accepted: {names or 'none exists yet'}"
            raise CommandError(said, returncode=USAGE)
        try:
            done = holdings_file.load(owner, name, _content(file), expires_at=_moment(expires))
        except InvalidInput as error:
            raise CommandError(str(error), returncode=USAGE) from None
        self.stdout.write(
            f"{name}: {done.positions} positions of {user}, {done.followed} followed; {done.leaving} former ones leave "
            f"within a day"
        )


def _content(file: str) -> bytes:
    if file == "-":
        return sys.stdin.buffer.read(_ONE_TOO_MANY)
    try:
        with Path(file).open("rb") as opened:
            return opened.read(_ONE_TOO_MANY)
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}; accepted: a CSV, or -", returncode=USAGE) from None


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise CommandError(f"--expires {text!r} is no day; accepted: such as 2027-01-31", returncode=USAGE) from None
