"""Management commands whose bad input is answered by one line that says what is accepted."""

from __future__ import annotations

from typing import Any, NoReturn

from django.core.management.base import BaseCommand, CommandError, CommandParser

USAGE = 2

_OF_EVERY_COMMAND = {
    *("help", "version", "verbosity", "settings", "pythonpath"),
    *("traceback", "no_color", "force_color", "skip_checks"),
}


class OneLineCommand(BaseCommand):
    """A command that answers wrong arguments with one line on standard error and exit code 2."""

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


def _accepted(parser: CommandParser) -> str:
    """The command's own arguments, as its usage shows them."""
    own = [action for action in parser._actions if action.dest not in _OF_EVERY_COMMAND]
    formatter = parser._get_formatter()
    formatter.add_usage(None, own, [], prefix="")
    return " ".join(formatter.format_help().split()).removeprefix(f"{parser.prog} ") or "no arguments"
