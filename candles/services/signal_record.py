"""What came of an evaluation: rows, the durable stream, channels; and what only whoever publishes knows."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Mapping

from candles import publish
from candles.models import Signal as Row
from candles.services import regimes, scoreboard
from candles.services.section import Listing
from candles.signals.evaluation import Kind, Outcome
from candles.signals.event import Event, Phase
from livermore.core.symbol import Symbol
from livermore.logs import event as log_event

log = logging.getLogger(__name__)


def keep(events: Iterable[Event], listings: Mapping[tuple[str, str], Listing]) -> list[Event]:
    """Row first, then stream and channel; a repeat updates the same row. The events as they were told."""
    told = [_finished(happening, listings) for happening in events]
    for happening in told:
        _row(happening)
        log_event(
            log, f"signal.{happening['phase']}", kind=happening["kind"], base=happening["base"],
            leader=happening["leader"]["exchange"], follower=_follower(happening).get("exchange"),
            remaining_bps=happening["metrics"]["remaining_bps"], outcome=happening.get("outcome"),
        )  # fmt: skip
    publish.signals(told)
    return told


def close_forgotten(base: str, kinds: Iterable[Kind], remembered: Collection[str], now_ms: int) -> int:
    """Close what the table calls open and no evaluator remembers: the state Redis has lost it. How many that were.

    Nobody knows how it went, so it is not scored.
    """
    is_open = Row.objects.exclude(phase=Phase.CLOSED).filter(base=base, kind__in=map(str, kinds), timeframe="")
    forgotten = [row for row in is_open.filter(opened_ms__lt=now_ms) if str(row.event_id) not in remembered]
    ended = {"phase": str(Phase.CLOSED), "outcome": str(Outcome.INVALIDATED), "evaluated_ms": now_ms}
    unknown = dict.fromkeys(("duration_ms", "peak_remaining_bps", "mfe_bps", "mae_bps"))
    told = [{**row.event, **ended, **unknown} for row in forgotten]
    for happening in told:
        _row(happening)
        log_event(log, "signal.forgotten", kind=happening["kind"], base=base, event_id=happening["event_id"])
    publish.signals(told)
    return len(told)


def _row(of: Event) -> None:
    is_closed = of["phase"] == Phase.CLOSED
    measured = ("peak_remaining_bps", "mfe_bps", "mae_bps")
    peak, best, worst = (float(of[name]) if of.get(name) is not None else None for name in measured)
    Row.objects.update_or_create(
        event_id=of["event_id"],
        defaults={
            "kind": of["kind"],
            "phase": of["phase"],
            "base": of["base"],
            "direction": of["direction"],
            "leader_id": of["leader"]["exchange"],
            "follower_id": _follower(of).get("exchange"),
            "window_s": of["window_s"],
            "timeframe": of.get("timeframe") or "",
            "identity": of.get("identity", ""),
            "opened_ms": of["onset_ms"],
            "closed_ms": of["evaluated_ms"] if is_closed else None,
            "outcome": of.get("outcome", ""),
            "duration_ms": of.get("duration_ms"),
            "peak_bps": peak,
            "mfe_bps": best,
            "mae_bps": worst,
            "event": of,
            **({"opening": of} if of["phase"] == Phase.OPENED else {}),
        },
    )


def _finished(of: Event, listings: Mapping[tuple[str, str], Listing]) -> Event:
    """The parts of an event that only whoever publishes it knows."""
    local = of["follower"] or of["leader"]
    spent_ms = time.time_ns() // 1_000_000 - of["evaluated_ms"]
    return {
        **of,
        "links": {**of["links"], "home": _home(local, listings.get((local["exchange"], local["symbol"])))},
        "latency": {**of["latency"], "eval_to_publish_ms": spent_ms},
        "history": scoreboard.history(of),
        "quality": {**of["quality"], "regime": regimes.of_pair(of)},
    }


def _home(local: Event, listing: Listing | None) -> str | None:
    """The local market's page at its venue."""
    symbol = Symbol.parse(local["symbol"])
    home = listing.home_url if listing else ""
    for placeholder, text in {"{base}": symbol.base, "{quote}": symbol.quote, "{native}": local["native"]}.items():
        home = home.replace(placeholder, text)
    return home or None


def _follower(of: Event) -> Event:
    return of["follower"] or {}
