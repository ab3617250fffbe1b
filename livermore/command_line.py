"""Management commands whose bad input and absent stores are answered by one line, never a traceback."""

from __future__ import annotations

from typing import Any, NoReturn

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError, ProgrammingError

from livermore.core.errors import StoreUnavailable

USAGE = 2
TEMPORARY = 5
"""Nothing is wrong with the command: it succeeds once what it needs is there (contract §2: time-out)."""

_OF_EVERY_COMMAND = {
    *("help", "version", "verbosity", "settings", "pythonpath"),
    *("traceback", "no_color", "force_color", "skip_checks"),
}


class OneLineCommand(BaseCommand):
    """Wrong arguments are one line on standard error and exit code 2, an absent store one line and 5."""

    def execute(self, *args: Any, **options: Any) -> Any:
        """Django's, with the one door where failures of Redis and the database become one line."""
        try:
            return super().execute(*args, **options)
        except StoreUnavailable as error:
            raise CommandError(f"{error}; is Livermore running?", returncode=TEMPORARY) from error
        except (OperationalError, ProgrammingError) as error:
            if (line := _database_trouble(error)) is None:
                raise
            raise CommandError(line, returncode=TEMPORARY) from error

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Django's parser, without the usage text before its complaint."""
        parser = super().create_parser(prog_name, subcommand, **kwargs)

        def complain(message: str) -> NoReturn:
            line = f"{message}; accepted: {_accepted(parser)}"
            if not self._called_from_command_line:
                raise CommandError(line, returncode=USAGE)
            parser.exit(USAGE, f"{line}\n")

        parser.error = complain  # type: ignore[method-assign]
        return parser


def _database_trouble(error: OperationalError | ProgrammingError) -> str | None:
    """What to do about it in one line; None where the error is our own mistake."""
    said = " ".join(str(error).split())
    # SQLite and PostgreSQL on tables that were never made, or by an older version.
    if any(sign in said for sign in ("no such table", "no such column", "does not exist")):
        return f"the database has no tables ({said}): run `make run`, or `manage.py migrate` first"
    return f"the database does not answer: {said}" if isinstance(error, OperationalError) else None


def _accepted(parser: CommandParser) -> str:
    """The command's own arguments, as its usage shows them."""
    own = [action for action in parser._actions if action.dest not in _OF_EVERY_COMMAND]
    formatter = parser._get_formatter()
    formatter.add_usage(None, own, [], prefix="")
    return " ".join(formatter.format_help().split()).removeprefix(f"{parser.prog} ") or "no arguments"
