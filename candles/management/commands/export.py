"""`export candles|signals … --format csv|parquet`: what is stored, as a file."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from candles.management.arguments import moment, timeframe
from candles.management.ticking import ticking
from candles.services import exporting
from exchanges.models import Exchange
from livermore.command_line import USAGE, OneLineCommand
from livermore.core.candle import BASE_TIMEFRAME, Timeframe
from livermore.core.errors import InvalidInput
from symbols.choosing import ALL, choose

CANDLES, SIGNALS = "candles", "signals"


class Command(OneLineCommand):
    """Rows come out in a stable order and are never held in memory together."""

    help = "Write candles or signals to a file: export candles kucoin BTC-USDT --format parquet --out btc.parquet"

    def add_arguments(self, parser: ArgumentParser) -> None:
        """What, of whom, when, and where to."""
        parser.add_argument("what", choices=[CANDLES, SIGNALS])
        parser.add_argument(
            "names", nargs="*", metavar="NAME",
            help=f"candles: the exchange, then symbols or {ALL}; signals: a base, or nothing for all",
        )  # fmt: skip
        parser.add_argument("--format", choices=sorted(exporting.FORMATS), default="csv")
        parser.add_argument("--out", type=Path, metavar="FILE", help="a new file (standard output)")
        of = f"of {' '.join(Timeframe)}; repeatable ({BASE_TIMEFRAME})"
        parser.add_argument("--timeframe", type=timeframe, action="append", metavar="T", help=of)
        parser.add_argument("--from", type=moment, dest="from_ms", default=0, metavar="TIME", help="as 2026-01-31, UTC")
        parser.add_argument("--to", type=moment, dest="to_ms", default=1 << 62, metavar="TIME", help="not included")

    def handle(self, **options: Any) -> None:
        """Write it, tell how much that was; exit 0."""
        try:
            table = _table(options)
        except InvalidInput as error:
            raise CommandError(str(error), returncode=USAGE) from None
        out = options["out"]
        if out is None and options["format"] == "parquet" and sys.stdout.isatty():
            raise CommandError("Parquet is no text for a terminal; name a file with --out", returncode=USAGE)
        written = 0
        try:
            target = out.open("xb") if out else nullcontext(sys.stdout.buffer)
            with target as file, ticking(sys.stderr, lambda: f"{written:,} bytes"):
                for piece in exporting.in_format(table, options["format"]):
                    file.write(piece)
                    written += len(piece)
        except FileExistsError:
            raise CommandError(f"{out} exists; name a new file", returncode=USAGE) from None
        except OSError as error:
            raise CommandError(f"{out or 'standard output'}: {error.strerror}", returncode=USAGE) from None
        terms = table.notice or "none are known"
        self.stderr.write(f"{written:,} bytes of {table.name} as {options['format']}. Terms of use: {terms}")


def _table(options: dict[str, Any]) -> exporting.Table:
    names, span = options["names"], (options["from_ms"], options["to_ms"])
    if options["what"] == SIGNALS:
        if len(names) > 1:
            raise InvalidInput(f"one base at most; got {' '.join(names)}")
        return exporting.signals(*names, from_ms=span[0], to_ms=span[1])
    if not names:
        raise InvalidInput("candles of which exchange? accepted: export candles NAME SYMBOL…")
    if not Exchange.objects.filter(pk=names[0]).exists():
        known = " ".join(Exchange.objects.order_by("slug").values_list("slug", flat=True))
        raise InvalidInput(f"exchange {names[0]!r} does not exist; accepted: {known}")
    found = choose(names[0], names[1:] or [ALL])
    return exporting.candles(found, options["timeframe"] or [BASE_TIMEFRAME], *span)
