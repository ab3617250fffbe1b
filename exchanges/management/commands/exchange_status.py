"""`exchange_status [NAME]`: what each exchange's stream does, who holds it, what is missing or does not fit."""

from __future__ import annotations

import json
import time
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from django.utils import timezone

from candles.models import Candle, Gap
from candles.services import drift, quality
from candles.services.drift import Drift
from exchanges import observed
from exchanges.lifecycle import State
from exchanges.management.ordering import one_line_errors
from exchanges.models import Exchange
from livermore.command_line import OneLineCommand
from livermore.core.candle import Quality, Source
from livermore.core.errors import InvalidInput

_DAY = timedelta(days=1)
_NUMBERS = (
    *("sockets", "wanted", "acked", "receiving", "frames"),
    *("epoch", "since_ms", "last_frame_ms", "config_version"),
    *("spooled", "spooled_bytes", "spooled_from_ms", "crashes", "crashed_ms", "clock_measured_ms"),
)
_FRACTIONS = ("frames_per_s", "lag_ms", "clock_offset_ms", "clock_uncertainty_ms")
_COLUMNS = ("exchange", "state", "holder", "region", "sockets", "wanted/acked/recv", "frames/s", "lag ms")
_MORE = ("clock ahead ms", "gaps 24h", "proven 24h", "match 24h", "reason")


class Command(OneLineCommand):
    """Prints a table, or JSON; --watch repeats it every second until Ctrl-C."""

    help = "Show the state of one exchange's stream or of all."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The arguments of contract §2."""
        parser.add_argument("name", nargs="?", metavar="NAME", help="exchange (default: all)")
        parser.add_argument("--json", action="store_true", help="a JSON list, one object per exchange")
        parser.add_argument("--watch", action="store_true", help="again every second")

    def handle(self, *, name: str | None, json: bool, watch: bool, **_: Any) -> None:
        """Print once or again and again."""
        try:
            while True:
                with one_line_errors():
                    lines = self._shown(name, as_json=json)
                if watch and not json:
                    self.stdout.write("\033[2J\033[H", ending="")
                self.stdout.write("\n".join(lines))
                self.stdout.flush()
                if not watch:
                    return
                time.sleep(1.0)
        except KeyboardInterrupt:
            return

    def _shown(self, name: str | None, *, as_json: bool) -> list[str]:
        rows = _rows(name)
        odd = drift.of([row.slug for row in rows])
        found = [status(row, its) for row, its in zip(rows, odd, strict=True)]
        if as_json:
            return [json.dumps(found)]
        now_ms = time.time_ns() // 1_000_000
        misfits = [f"{row.slug}: {line}" for row, its in zip(rows, odd, strict=True) for line in its.lines(now_ms)]
        crashed = [f"{one['exchange']} crashed:\n{one['traceback']}" for one in found if one["crash_looping"]]
        return table(found) + misfits + crashed


def status(row: Exchange, odd: Drift) -> dict[str, Any]:
    """One exchange as JSON; what nobody has told is None."""
    told = observed.stream_state(row.slug)
    since = timezone.now() - _DAY
    since_ms = int(since.timestamp() * 1000)
    return {
        "exchange": row.slug,
        "enabled": row.enabled,
        "state": told.get("state", str(State.IDLE)),
        "reason": told.get("reason", _untold(row)),
        "holder": told["host"] if told.get("epoch") else None,
        "region": told.get("region") or None,
        "endpoint": told.get("endpoint") or None,
        "endpoint_overridden": row.is_endpoint_overridden,
        "row_version": row.config_version,
        **{name: int(told[name]) if told.get(name) else None for name in _NUMBERS},
        **{name: float(told[name]) if told.get(name) else None for name in _FRACTIONS},
        "crash_looping": told.get("crash_looping") == "1",
        "traceback": told.get("traceback") or None,
        "gaps_24h": Gap.objects.filter(exchange=row, opened_at__gte=since).count(),
        "open_gaps": Gap.objects.filter(exchange=row, closed_at=None).count(),
        "proven_24h": _proven(row, since_ms),
        "match_rate_24h": _match_rate(row, since_ms),
        "drift": asdict(odd),
    }


def _untold(row: Exchange) -> str:
    if not row.enabled:
        return "disabled; enable it in the admin"
    return f"no stream host is live; start one with: python manage.py start_exchange {row.slug}"


def table(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Aligned columns with a heading."""
    rows = [(*_COLUMNS, *_MORE), *(_cells(one) for one in found)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _cells(one: Mapping[str, Any]) -> tuple[str, ...]:
    def text(value: Any) -> str:
        return "-" if value is None else str(value)

    counts = "/".join(text(one[name]) for name in ("wanted", "acked", "receiving"))
    shares = ("-" if one[name] is None else f"{one[name]:.2%}" for name in ("proven_24h", "match_rate_24h"))
    numbers = (one["sockets"], counts, one["frames_per_s"], one["lag_ms"], _clock(one), one["gaps_24h"], *shares)
    return (one["exchange"], one["state"], text(one["holder"]), text(one["region"]), *map(text, numbers), one["reason"])


def _clock(one: Mapping[str, Any]) -> str | None:
    """How far the venue's clock is ahead of its host's, how well that is known, and since when."""
    if one["clock_measured_ms"] is None:
        return None
    age_s = max(0, time.time_ns() // 1_000_000 - one["clock_measured_ms"]) // 1000
    return f"{one['clock_offset_ms']:+.1f} ±{one['clock_uncertainty_ms']:.1f}, {age_s} s ago"


def _rows(name: str | None) -> list[Exchange]:
    rows = list(Exchange.objects.all())
    chosen = [row for row in rows if name in (None, row.slug)]
    if not chosen:
        raise InvalidInput(f"exchange {name!r} does not exist; accepted: {' '.join(row.slug for row in rows)}")
    return chosen


def _proven(row: Exchange, since_ms: int) -> float | None:
    """The share of the candles made of trades that ids, or the venue's own candle, prove whole."""
    ours = Candle.objects.filter(symbol__exchange=row, open_ms__gte=since_ms, source=Source.TRADES)
    closed = ours.exclude(quality=Quality.PENDING)
    total = closed.count()
    return round(closed.filter(quality=Quality.PROVEN).count() / total, 4) if total else None


def _match_rate(row: Exchange, since_ms: int) -> float | None:
    """Of the candles compared with the venue's own, the share that was equal at first."""
    found = quality.scores(since_ms, exchange=row.slug)
    return None if not found or found[0].match_rate is None else round(found[0].match_rate, 6)
