"""`explain_candle NAME SYMBOL TIME`: from a candle to the trades, batches and frames it is made of."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

import exchanges.services
from candles.management.arguments import moment, timeframe
from candles.services.explain import Explanation, Frame, explain, frames
from exchanges.management.ordering import one_line_errors
from exchanges.recorded import Recording
from livermore.command_line import USAGE, OneLineCommand
from livermore.core.candle import Source, Timeframe
from livermore.core.errors import InvalidInput
from livermore.core.exact import plain
from symbols.choosing import choose

SHOWN = 20


class Command(OneLineCommand):
    """Shows one candle: its numbers, where they come from, and who vouches for them."""

    help = "Show what a candle is made of: parts, batches, trades, gaps, the venue's own, recorded frames."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The arguments of contract §2."""
        parser.add_argument("name", metavar="NAME", help="exchange")
        parser.add_argument("symbol", metavar="SYMBOL", help="such as BTC-USDT")
        parser.add_argument("at", type=moment, metavar="TIME", help="in it: 2026-01-31T12:05 UTC, or epoch ms")
        parser.add_argument("--timeframe", type=timeframe, default=Timeframe.M5, metavar="T", help="of it (5m)")
        parser.add_argument("--recording", type=Path, metavar="FILE", help="what `record` wrote: find its frames")
        parser.add_argument("--json", action="store_true", help="one JSON line on standard output")

    def handle(self, **options: Any) -> None:
        """Print the explanation; exit 0."""
        with one_line_errors():
            exchanges.services.usable(options["name"])
        try:
            (symbol,) = choose(options["name"], [options["symbol"]])
            length: Timeframe = options["timeframe"]
            open_ms = options["at"] - options["at"] % length.ms
            found = explain(symbol, length, open_ms)
            recorded = None
            if options["recording"]:
                recorded = list(frames(symbol, length, open_ms, Recording(options["recording"], options["name"])))
        except InvalidInput as error:
            raise CommandError(str(error), returncode=USAGE) from None
        lines = [json.dumps(_public(found, recorded))] if options["json"] else _lines(found, recorded)
        self.stdout.write("\n".join(lines))


def _lines(found: Explanation, recorded: list[Frame] | None) -> list[str]:
    return [*_head(found), *_compared(found), *_gaps(found), *_parts(found), *_batches(found), *_frames(recorded)]


def _head(found: Explanation) -> list[str]:
    c, row = found.candle, found.row
    numbers = [(name, getattr(c, name)) for name in ("open", "high", "low", "close", "volume", "turnover")]
    told = "  ".join(f"{name} {'-' if value is None else plain(value)}" for name, value in numbers)
    reason = f" ({c.reason})" if c.reason else ""
    return [
        f"{c.exchange} {c.symbol} {c.timeframe}  {_clock(c.open_ms)} – {_clock(c.open_ms + c.timeframe.ms)}",
        f"  {told}  trades {'-' if c.trades is None else c.trades}",
        f"  {c.quality}{reason}, from {c.source}, revision {c.revision}, recorded {_clock(row.recorded_ms)}; "
        f"made of {row.evidence:,} executions, {row.confirmed:,} of them confirmed by the venue",
    ]


def _compared(found: Explanation) -> list[str]:
    if not found.row.checked_ms:
        is_venues = found.candle.source is not Source.TRADES
        return ["  it is the venue's own" if is_venues else "  not yet compared with the venue's own"]
    if not found.differs:
        lines = [f"  equal to the venue's own at {_clock(found.row.checked_ms)}"]
    else:
        lines = [f"  differs from the venue's own at {_clock(found.row.checked_ms)}: {', '.join(found.differs)}"]
    if case := found.case:
        fields = ", ".join(f"{name} {ours} → {theirs}" for name, (ours, theirs) in case.fields.items())
        mended = f"mended by its {case.method} at {case.mended_at:%H:%M:%S}" if case.mended_at else "not mended yet"
        lines.append(f"  differed when first compared (ours → the venue's): {fields}; {mended}")
    return lines


def _gaps(found: Explanation) -> list[str]:
    return [
        f"  gap {_clock(gap.from_ns // 1_000_000)} – {_clock(gap.to_ns // 1_000_000)} ({gap.cause}): "
        + (f"closed by {gap.method}: {gap.proof}" if gap.closed_at else "open")
        for gap in found.gaps
    ]


def _parts(found: Explanation) -> list[str]:
    if not found.parts:
        return []
    wanted = found.candle.timeframe.ms // Timeframe.M5.ms
    each = Counter(str(part.quality) for part in found.parts)
    qualities = ", ".join(f"{count} {quality}" for quality, count in each.most_common())
    return [f"  folded from {len(found.parts)} of {wanted} 5m candles: {qualities}"]


def _batches(found: Explanation) -> list[str]:
    if found.candle.timeframe is not Timeframe.M5:
        return []
    if not found.batches and found.candle.source is Source.REST:
        return ["  history: fetched as it is, not made of trades here"]
    if not found.batches:
        return ["  its trades are no longer kept (half an hour); a recording still has its frames: --recording FILE"]
    verdict = "make this candle" if found.is_refolded else "make another candle than this one"
    lines = [f"  {len(found.batches):,} batches are still kept; folded again they {verdict}:"]
    for batch in found.batches[:SHOWN]:
        span = f"{_clock(batch.first_ns // 1_000_000)} – {_clock(batch.last_ns // 1_000_000)}"
        lines.append(
            f"    {batch.name}: {batch.trades:,} trades, {batch.executions:,} executions, "
            f"volume {plain(batch.volume)}, {span}, received {_clock(batch.received_ns // 1_000_000)}"
        )
    more = len(found.batches) - SHOWN
    return [*lines, f"    … and {more:,} more; --json shows all"] if more > 0 else lines


def _frames(recorded: list[Frame] | None) -> list[str]:
    if recorded is None:
        return []
    trades = sum(frame.trades for frame in recorded)
    lines = [f"  {len(recorded):,} frames of the recording carry {trades:,} of its trades"]
    lines += [
        f"    frame {frame.number}: {frame.trades} trades, received {_clock(frame.received_ns // 1_000_000)}"
        for frame in recorded[:SHOWN]
    ]
    more = len(recorded) - SHOWN
    return [*lines, f"    … and {more:,} more; --json shows all"] if more > 0 else lines


def _public(found: Explanation, recorded: list[Frame] | None) -> dict[str, Any]:
    return {
        "candle": found.candle.public(),
        "recorded_ms": found.row.recorded_ms,
        "evidence": found.row.evidence,
        "confirmed": found.row.confirmed,
        "checked_ms": found.row.checked_ms or None,
        "differed": found.differed,
        "differs": found.differs,
        "mismatch": found.case.fields if found.case else None,
        "gaps": [
            {"from_ns": g.from_ns, "to_ns": g.to_ns, "cause": g.cause, "method": g.method or None, "proof": g.proof}
            for g in found.gaps
        ],
        "parts": [{"open_time": p.open_ms, "quality": str(p.quality), "revision": p.revision} for p in found.parts],
        "refolds_to_itself": found.is_refolded,
        "batches": [
            {
                "batch": b.name, "rest": b.is_rest, "received_ns": b.received_ns, "trades": b.trades,
                "executions": b.executions, "first_ns": b.first_ns, "last_ns": b.last_ns, "volume": plain(b.volume),
            }
            for b in found.batches
        ],
        "frames": None
        if recorded is None
        else [
            {"frame": f.number, "connection": f.connection, "received_ns": f.received_ns, "trades": f.trades}
            for f in recorded
        ],
    }  # fmt: skip


def _clock(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"
