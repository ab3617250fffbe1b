"""`reconcile NAME [SYMBOL…]`: our candles against the venue's own, now, with what differs and what is done."""

from __future__ import annotations

import json
import logging
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections import Counter
from typing import Any

from django.core.management.base import CommandError

import exchanges.services
from candles.management.ticking import ticking
from candles.services import indicators, quality, reconcile, repair
from exchanges.control import Verb
from exchanges.management.by_hand import INTERRUPTED, on_record
from exchanges.management.ordering import GEO, add_key, one_line_errors
from livermore.command_line import TEMPORARY, USAGE, OneLineCommand
from livermore.core.errors import GeoBlocked, InvalidInput, StoreUnavailable, Transient
from symbols.choosing import ALL, choose

LONGEST_H = 24 * 30
_HOUR_MS = 3_600_000


class Command(OneLineCommand):
    """Compares, mends and counts what beat has compared every twenty minutes anyway."""

    help = "Compare an exchange's candles with its own klines; what differs is mended and shown."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The arguments of contract §2."""
        parser.add_argument("name", metavar="NAME", help="exchange")
        parser.add_argument("symbols", nargs="*", metavar="SYMBOL", help="such as BTC-USDT (all streamed ones)")
        parser.add_argument("--hours", type=_hours, default=24, metavar="H", help="candles of the last H hours (24)")
        parser.add_argument("--json", action="store_true", help="one JSON line on standard output, at the end")
        add_key(parser)

    def handle(self, **options: Any) -> None:
        """Compare symbol by symbol, print what came of it; exit 0."""
        slug = options["name"]
        with one_line_errors():
            exchanges.services.usable(slug)
        try:
            names = [row.name for row in choose(slug, options["symbols"] or [ALL])]
        except InvalidInput as error:
            raise CommandError(str(error), returncode=USAGE) from None
        if sys.stderr.isatty():
            logging.getLogger("candles").setLevel(logging.ERROR)  # the line of progress says what happens
        now_ms = time.time_ns() // 1_000_000
        since_ms = now_ms - options["hours"] * _HOUR_MS
        total = _Total(slug, len(names))
        symbols = " ".join(names) if options["symbols"] else ""
        with on_record(slug, Verb.RECONCILE, symbols, options["key"], total.line):
            _carry_out(total, slug, names, (since_ms, now_ms))
        scores = [s for s in quality.scores(since_ms, exchange=slug, by_symbol=True) if s.symbol in set(names)]
        self._print(total, scores, is_json=options["json"])

    def _print(self, total: _Total, scores: list[quality.Score], *, is_json: bool) -> None:
        differing = sum((Counter(score.differing) for score in scores), start=Counter())
        if is_json:
            self.stdout.write(json.dumps(total.counts() | {"scores": [score.public() for score in scores]}))
            return
        self.stdout.write(total.line())
        for score in scores:
            if score.compared > score.equal:
                fields = ", ".join(f"{name} {count}" for name, count in score.differing.items())
                self.stdout.write(
                    f"  {score.symbol}: {score.equal:,} of {score.compared:,} equal when first compared ({fields}), "
                    f"{score.unlike} differ now"
                )
        compared, equal = sum(s.compared for s in scores), sum(s.equal for s in scores)
        rate = f"{equal / compared:.4%}" if compared else "nothing to compare yet"
        self.stdout.write(f"match rate of 5m candles: {rate}{' · ' * bool(differing)}{_fields(differing)}")


class _Total:
    def __init__(self, exchange: str, symbols: int) -> None:
        self._exchange, self._symbols = exchange, symbols
        self._done = self._checked = self._equal = self._repairs = 0

    def add(self, done: reconcile.Reconciled) -> None:
        """One more symbol."""
        self._done += 1
        self._checked += done.checked
        self._equal += done.equal
        self._repairs += len(done.repairs)

    def counts(self) -> dict[str, Any]:
        return {
            "exchange": self._exchange, "symbols": self._done, "checked": self._checked, "equal": self._equal,
            "repairs": self._repairs,
        }  # fmt: skip

    def line(self) -> str:
        mended = f", trades of {self._repairs:,} fetched again" if self._repairs else ""
        return (
            f"{self._exchange}: {self._done:,} of {self._symbols:,} symbols, {self._equal:,} of {self._checked:,} "
            f"candles equal{mended}"
        )


def _carry_out(total: _Total, exchange: str, names: list[str], span_ms: tuple[int, int]) -> None:
    """Symbol by symbol; raises `CommandError` with its exit code."""
    try:
        with ticking(sys.stderr, total.line):
            for name in names:
                total.add(_mended(exchange, name, span_ms))
    except KeyboardInterrupt:
        raise CommandError(f"interrupted: {total.line()}; what was compared is kept", returncode=INTERRUPTED) from None
    except GeoBlocked as error:
        raise CommandError(str(error), returncode=GEO) from None
    except StoreUnavailable:
        raise
    except Transient as error:
        raise CommandError(f"{error}; {total.line()}", returncode=TEMPORARY) from None


def _mended(exchange: str, symbol: str, span_ms: tuple[int, int]) -> reconcile.Reconciled:
    """Compared, and the trades of what differs fetched; the workers fold them when they run."""
    done = reconcile.reconcile(exchange, symbol, span_ms)
    for needed in done.repairs:
        left: repair.Repair | None = needed
        while left is not None:
            left = repair.repair(left)
    indicators.compute((c.exchange, c.symbol, str(c.timeframe)) for c in done.changed)
    return done


def _fields(differing: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in differing.most_common())


def _hours(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= LONGEST_H:
        raise ArgumentTypeError(f"{text!r} is no number of hours from 1 to {LONGEST_H}")
    return int(text)
