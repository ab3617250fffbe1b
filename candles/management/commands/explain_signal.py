"""`explain_signal ID`: from a signal back to the trades, batches and frames that caused it."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.management.base import CommandError

from candles.services.explain_signal import Cause, Explanation, explain
from exchanges.recorded import Recording
from livermore.command_line import USAGE, OneLineCommand
from livermore.core.errors import InvalidInput

SHOWN = 20


class Command(OneLineCommand):
    """Shows one signal: when each hop happened, from the venue's trade to the published event."""

    help = "Show what caused a signal: each hop with its time, the batches and recorded frames, all it told."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The arguments."""
        parser.add_argument("event_id", metavar="ID", help="event_id, as the API and the page of the signal tell it")
        parser.add_argument(
            "--recording", action="append", default=[], type=Path, metavar="FILE",
            help="what `record` wrote of one of its exchanges: find the frames",
        )  # fmt: skip
        parser.add_argument("--json", action="store_true", help="one JSON line on standard output")

    def handle(self, **options: Any) -> None:
        """Print the explanation; exit 0."""
        try:
            found = explain(_uuid(options["event_id"]), dict(map(_recording, options["recording"])))
        except InvalidInput as error:
            raise CommandError(str(error), returncode=USAGE) from None
        self.stdout.write(json.dumps(_public(found)) if options["json"] else "\n".join(_lines(found)))


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise InvalidInput(f"{text!r} is no event id: it is a UUID, as /api/v1/signals tells it") from None


def _recording(file: Path) -> tuple[str, Recording]:
    found = Recording(file)
    return found.header.exchange, found


def _lines(found: Explanation) -> list[str]:
    row, event = found.row, found.opening
    ended = f", {row.outcome} after {(row.duration_ms or 0) / 1000:.1f} s" if row.outcome else ", open"
    lines = [f"{row.kind} {row.base} {row.direction} {row.event_id}{ended}", f"  {event.get('identity', '')}"]
    first = found.hops[0].at_ms
    lines += [f"  {_clock(h.at_ms)} {h.at_ms - first:+8,} ms  {h.of:8} {h.what}" for h in found.hops]
    lines += [_cause(cause) for cause in found.causes]
    lines.append(f"  the stream still has {len(found.told)} of its events:")
    for entry, told in found.told[:SHOWN]:
        lines.append(f"    {entry} {told['phase']} evaluated {_clock(told['evaluated_ms'])}")
    more = len(found.told) - SHOWN
    return [*lines, f"    … and {more:,} more; --json shows all"] if more > 0 else lines


def _cause(of: Cause) -> str:
    kept = f"trades {', '.join(map(str, of.trade_ids[:5]))}" if of.is_kept else "its trades are no longer kept"
    frames = f", recorded frames {', '.join(map(str, of.frames))}" if of.frames else ""
    return f"  {of.of}: {of.exchange} {of.symbol} batch {of.batch or 'unknown'}: {kept}{frames}"


def _public(found: Explanation) -> dict[str, Any]:
    return {
        "event_id": str(found.row.event_id),
        "opening": found.opening,
        "hops": [asdict(hop) for hop in found.hops],
        "causes": [asdict(cause) for cause in found.causes],
        "told": [{"entry": entry, "phase": e["phase"], "evaluated_ms": e["evaluated_ms"]} for entry, e in found.told],
    }


def _clock(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}.{at_ms % 1000:03d}"
