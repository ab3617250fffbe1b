"""From a signal back to the batches and frames that caused it: every hop with its time, as far as kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from candles import ledger
from candles.ledger import Bucket
from candles.models import Signal as Row
from candles.signals.event import Event
from exchanges import registry
from exchanges.recorded import Recording
from exchanges.state import state_redis, unavailable
from livermore.core import keys
from livermore.core.candle import BUCKET_MS
from livermore.core.errors import InvalidInput
from symbols import services as symbols


@dataclass(frozen=True, slots=True)
class Hop:
    """One step on the way; `of` is `leader`, `follower` or empty."""

    at_ms: int
    of: str
    what: str


@dataclass(frozen=True, slots=True)
class Cause:
    """The trades at a leg's price: which batch brought them, in which recorded frame they are."""

    of: str
    exchange: str
    symbol: str
    at_ms: int
    batch: str
    is_kept: bool
    trade_ids: list[int | str] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Explanation:
    """`opening` is the event as it was first told; `told` are all its phases that the stream still has."""

    row: Row
    opening: Event
    hops: list[Hop]
    causes: list[Cause]
    told: list[tuple[str, Event]]


@unavailable()
def explain(event_id: UUID, recordings: dict[str, Recording] | None = None) -> Explanation:
    """Everything that is known of a signal. Raises `InvalidInput` where there is none."""
    row = Row.objects.filter(pk=event_id).first()
    if row is None:
        raise InvalidInput(f"there is no signal {event_id}; /api/v1/signals lists those there are")
    told = list(_told(str(event_id)))
    opening = row.opening or next((e for _, e in told if e["phase"] == "opened"), row.event)
    legs = {name: leg for name in ("leader", "follower") if (leg := opening.get(name))}
    causes = [_cause(name, leg, (recordings or {}).get(leg["exchange"])) for name, leg in legs.items()]
    hops = [hop for name, leg in legs.items() for hop in _of_leg(name, leg)]
    return Explanation(row, opening, sorted([*hops, *_of_event(opening, row)], key=lambda h: h.at_ms), causes, told)


def _told(event_id: str) -> Iterator[tuple[str, Event]]:
    for entry, fields in state_redis().xrange(keys.signals_stream()):
        if event_id.encode() in fields[b"event"]:
            event = json.loads(fields[b"event"])
            if event["event_id"] == event_id:
                yield entry.decode(), event


def _of_leg(name: str, leg: Event) -> Iterator[Hop]:
    price = f"{leg['exchange']} {leg['symbol']} at {leg['price']}"
    yield Hop(leg["ts_exchange"], name, f"traded (venue's clock): {price}")
    yield Hop(leg["ts_recv"], name, "received by the socket")
    if leg.get("ts_stored"):
        yield Hop(leg["ts_stored"], name, f"stored by ingest: batch {leg['batch']}")


def _of_event(opening: Event, row: Row) -> Iterator[Hop]:
    yield Hop(opening["onset_ms"], "", "began: the condition arose (venue's clock)")
    yield Hop(opening["evaluated_ms"], "", f"evaluated and opened: {opening['kind']}")
    spent_ms = opening["latency"].get("eval_to_publish_ms")
    if spent_ms is not None:
        yield Hop(opening["evaluated_ms"] + spent_ms, "", "written down and published")
    if row.closed_ms is not None:
        yield Hop(row.closed_ms, "", f"closed: {row.outcome}")


def _cause(name: str, leg: Event, recording: Recording | None) -> Cause:
    exchange, symbol, at_ms = leg["exchange"], leg["symbol"], leg["ts_exchange"]
    (found,) = ledger.slabs(exchange, [Bucket(symbol, at_ms // BUCKET_MS * BUCKET_MS)])
    batch, ids = leg.get("batch", ""), []
    for number, slab in found.items():
        at_once = [] if slab is None else zip(slab.times_ns, slab.ids, strict=True)
        here = [trade_id for time_ns, trade_id in at_once if time_ns // 1_000_000 == at_ms]
        if here and (not batch or number == batch):
            batch, ids = number, here
    frames = list(_frames(exchange, symbol, at_ms, recording)) if recording else []
    return Cause(name, exchange, symbol, at_ms, batch, bool(ids), ids, frames)


def _frames(exchange: str, symbol: str, at_ms: int, recording: Recording) -> Iterator[int]:
    """Numbers of the recorded frames that carry a trade of this market at this moment."""
    mapper, book = registry.venue(exchange).mapper, symbols.book(exchange)
    for number, frame in enumerate(recording.frames()):
        trades: Any = mapper([frame.payload], book).trades
        if any(t.symbol == symbol and t.time_ns // 1_000_000 == at_ms for t in trades):
            yield number
