"""`backfill NAME SYMBOL…`: the history that the table lacks, with a plan first."""

from __future__ import annotations

import logging
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management.base import CommandError

import exchanges.services
from candles import window
from candles.management.arguments import moment, timeframe
from candles.management.ticking import ticking
from candles.planning import Plan, Series
from candles.services import backfill, indicators
from exchanges.control import Verb
from exchanges.management.by_hand import INTERRUPTED, on_record
from exchanges.management.ordering import GEO, TIMEOUT, add_key, one_line_errors
from exchanges.models import Exchange
from exchanges.ratelimit import BACKGROUND_SHARE
from livermore.command_line import USAGE, OneLineCommand
from livermore.core.candle import Timeframe
from livermore.core.errors import GeoBlocked, InvalidInput, StoreUnavailable, Transient
from symbols.choosing import ALL, choose


class Command(OneLineCommand):
    """Asks only for what is not there yet: the same command once more does the rest."""

    help = "Fetch the candles that an exchange's history has and the table has not; the plan is printed first."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The arguments of contract §2, and a look before the leap."""
        parser.add_argument("name", metavar="NAME", help="exchange")
        parser.add_argument("symbols", nargs="+", metavar="SYMBOL", help=f"such as BTC-USDT; {ALL}: all streamed ones")
        parser.add_argument(
            "--from", type=moment, dest="from_ms", metavar="TIME",
            help=f"2026-01-31 or 2026-01-31T12:00, UTC (the newest {window.KEPT:,} bars of each timeframe)",
        )  # fmt: skip
        parser.add_argument("--to", type=moment, dest="to_ms", metavar="TIME", help="the same; not included (now)")
        parser.add_argument(
            "--timeframe", type=timeframe, action="append", metavar="T", help=f"of {' '.join(Timeframe)}; repeatable"
        )
        parser.add_argument("--plan", action="store_true", help="print the plan and fetch nothing")
        add_key(parser)

    def handle(self, **options: Any) -> None:
        """Print the plan, carry it out, print what came of it; exit 0."""
        with one_line_errors():
            row = exchanges.services.usable(options["name"])
        plan = _planned(row, options)
        self._print(plan, row)
        if options["plan"]:
            return
        work = backfill.Backfill(plan)
        if sys.stderr.isatty():
            logging.getLogger("candles").setLevel(logging.WARNING)  # the line of progress says what happens
        symbols = "" if ALL in options["symbols"] else " ".join(dict.fromkeys(s.symbol for s in plan.series))
        with on_record(row.slug, Verb.BACKFILL, symbols, options["key"], lambda: _line(work)):
            if plan.calls:
                self._carry_out(work)

    def _carry_out(self, work: backfill.Backfill) -> None:
        try:
            with ticking(sys.stderr, lambda: _line(work)):
                work.run()
        except KeyboardInterrupt:
            raise CommandError(f"interrupted: {_resume(work)}", returncode=INTERRUPTED) from None
        except GeoBlocked as error:
            raise CommandError(str(error), returncode=GEO) from None
        except StoreUnavailable:
            raise
        except Transient as error:
            raise CommandError(f"{error}; {_resume(work)}", returncode=TIMEOUT) from None
        finally:
            indicators.compute(work.changed)
        self._sum_up(work)

    def _print(self, plan: Plan, row: Exchange) -> None:
        symbols = len({series.symbol for series in plan.series})
        for length in dict.fromkeys(series.timeframe for series in plan.series):
            of = [series for series in plan.series if series.timeframe is length]
            calls = sum(len(series.pages) for series in of)
            missing = sum(series.missing for series in of)
            self.stdout.write(f"{length:>4}  {_span(of)}  {missing:>11,} bars missing  {calls:>7,} calls")
        allowed = exchanges.services.allowance(plan.exchange)
        left = f"about {_clock(backfill.expected_s(plan))}" if plan.calls else "nothing to do"
        self.stdout.write(
            f"{plan.exchange}: {symbols} symbol{'s' * (symbols != 1)}, {plan.missing:,} bars missing, {plan.calls:,} "
            f"calls of weight {plan.weight_per_call} = {plan.weight:,}; {left} with {_share(allowed.per_window, row)}"
        )
        self.stdout.flush()

    def _sum_up(self, work: backfill.Backfill) -> None:
        self.stdout.write(f"{work.plan.exchange}: {work.bars:,} bars stored in {work.calls:,} calls{_joints(work)}")
        if work.refused:
            raise CommandError(f"not served: {'; '.join(work.refused)}", returncode=1)


def _planned(row: Exchange, options: dict[str, Any]) -> Plan:
    from_ms, to_ms = options["from_ms"], options["to_ms"]
    now_ms = time.time_ns() // 1_000_000
    try:
        if from_ms is not None and from_ms >= min(to_ms or now_ms, now_ms):
            raise InvalidInput("--from must lie in the past, and before --to")
        timeframes = options["timeframe"] or [Timeframe(t) for t in row.timeframes]
        return backfill.plan(row.slug, choose(row.slug, options["symbols"]), timeframes, from_ms, to_ms)
    except InvalidInput as error:
        raise CommandError(str(error), returncode=USAGE) from None


def _line(work: backfill.Backfill) -> str:
    return (
        f"{work.plan.exchange}: {work.calls:,} of {work.plan.calls:,} calls, {work.bars:,} bars, "
        f"{work.calls_per_s():.1f} calls/s, {_clock(work.left_s())} left{_joints(work)}"
    )


def _joints(work: backfill.Backfill) -> str:
    return f"; {work.joints:,} joints checked, {work.differing:,} differ" if work.joints else ""


def _resume(work: backfill.Backfill) -> str:
    return f"{work.calls:,} of {work.plan.calls:,} calls are done and kept; the same command does the rest"


def _share(allowed: int, row: Exchange) -> str:
    share = f"{BACKGROUND_SHARE:.0%} of " if allowed < row.rest_weight * 0.8 else ""
    return f"{share}the budget of {row.rest_weight:,} per {row.rest_window_s} s"


def _span(series: Iterable[Series]) -> str:
    of = list(series)
    return f"{_day(min(s.from_ms for s in of))} – {_day(max(s.to_ms for s in of))}"


def _day(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M}"


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))

