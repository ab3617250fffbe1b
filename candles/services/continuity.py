"""Trade ids as a witness while they come: which ones a connection skipped, told within a second.

Where a venue numbers its trades without holes, a jump between two batches of one connection, or within one, means that
something was lost, or that it comes by another connection or later. So a jump is a suspicion, judged after `PATIENCE_S`
by what is stored then. Only batches that this process has seen one after the other are compared: with several workers,
and after a restart, the rest is left to the audit at the bucket's end, which sees everything.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from candles import ledger
from candles.ledger import Bucket
from candles.slab import Slab
from exchanges.venue import TradeIds, Venue
from livermore.core.candle import BUCKET_MS, BUCKET_NS
from livermore.core.frame import FrameBatch
from livermore.core.gap import Cause, Gap
from livermore.logs import event

log = logging.getLogger(__name__)

PATIENCE_S = 0.6
JUDGED_AT_ONCE = 20
CONNECTIONS_KEPT = 200
MOST_IDS = 100_000
"""A larger jump is no loss of frames but a strange id, and the audit's to judge."""


@dataclass(frozen=True, slots=True)
class Hole:
    """Ids `first … last` did not come between the trades of `from_ns` and `to_ns`; a suspicion `since_s`."""

    symbol: str
    first: int
    last: int
    from_ns: int
    to_ns: int
    since_s: float


class Continuity:
    """The ids of one exchange as this process sees them come."""

    def __init__(self, exchange: str) -> None:
        self._exchange = exchange
        # connection → number of its newest batch, and per symbol the id to come and when the last traded
        self._connections: OrderedDict[str, tuple[int, dict[str, tuple[int, int]]]] = OrderedDict()
        self._suspected: list[Hole] = []

    def look(self, batch: FrameBatch, slabs: Mapping[tuple[str, int], Slab], now_s: float) -> None:
        """Compare a batch with the one before it."""
        number, following = self._connections.get(batch.connection, (-1, {}))
        if batch.number <= number:
            return  # it came again
        if batch.number != number + 1:
            following = {}
        self._connections[batch.connection] = (batch.number, following)
        self._connections.move_to_end(batch.connection)
        if len(self._connections) > CONNECTIONS_KEPT:
            self._connections.popitem(last=False)
        for (symbol, _), columns in slabs.items():
            ids, executions = columns.ids, columns.executions
            low, high = ids[0], ids[-1]
            end = high + executions[-1]  # type: ignore[operator]
            known = following.get(symbol)
            if end - low == sum(executions) and (known is None or known[0] == low):  # type: ignore[operator]
                following[symbol] = (end, columns.times_ns[-1])
            else:
                following[symbol] = self._compared(symbol, columns, known, now_s)

    def due(self, now_s: float) -> list[Hole]:
        """Suspicions that are old enough to be judged; each is given once."""
        if not self._suspected or now_s - self._suspected[0].since_s < PATIENCE_S:
            return []
        old = [hole for hole in self._suspected[:JUDGED_AT_ONCE] if now_s - hole.since_s >= PATIENCE_S]
        del self._suspected[: len(old)]
        return old

    def judged(self, holes: Iterable[Hole]) -> list[Gap]:
        """What of them is still missing in the stored trades, as gaps. Raises `StoreUnavailable`."""
        gaps = []
        for hole in holes:
            first_ms = hole.from_ns // BUCKET_NS * BUCKET_MS
            opens = range(first_ms, hole.to_ns // BUCKET_NS * BUCKET_MS + 1, BUCKET_MS)
            stored = ledger.slabs(self._exchange, [Bucket(hole.symbol, open_ms) for open_ms in opens])
            slabs = [columns for found in stored for columns in found.values() if columns is not None]
            for first, last in _missing(hole, slabs):
                event(
                    log, "ids.missing", logging.WARNING,
                    exchange=self._exchange, symbol=hole.symbol, first=first, last=last,
                )  # fmt: skip
                told = (hole.symbol,), _named(first, last)
                gaps.append(Gap(self._exchange, hole.from_ns, hole.to_ns, Cause.IDS, *told))
        return gaps

    def _compared(self, symbol: str, columns: Slab, known: tuple[int, int] | None, now_s: float) -> tuple[int, int]:
        """Trade by trade in the order of ids; returns what is to come."""
        trades = sorted(zip(columns.ids, columns.executions, columns.times_ns, strict=True))
        following = known
        for trade_id, executions, time_ns in trades:
            assert isinstance(trade_id, int)  # these venues number their trades
            if following is not None and 0 < trade_id - following[0] <= MOST_IDS:
                hole = Hole(symbol, following[0], trade_id - 1, following[1], time_ns + 1, now_s)
                self._suspected.append(hole)
            if following is None or trade_id >= following[0] or following[0] - trade_id > MOST_IDS:
                following = (trade_id + executions, time_ns)
        assert following is not None
        return following


_watched: dict[str, Continuity] = {}


def look(venue: Venue, batch: FrameBatch, slabs: Mapping[tuple[str, int], Slab]) -> list[Gap]:
    """Compare a batch whose slabs are stored with what came before; the gaps that are certain by now."""
    if venue.trade_ids is not TradeIds.CONSECUTIVE:
        return []
    watched = _watched.get(batch.exchange) or _watched.setdefault(batch.exchange, Continuity(batch.exchange))
    now_s = time.monotonic()
    watched.look(batch, slabs, now_s)
    holes = watched.due(now_s)
    return watched.judged(holes) if holes else []


def _missing(hole: Hole, slabs: Iterable[Slab]) -> Iterator[tuple[int, int]]:
    """The ranges of ids within the hole that none of the slabs holds."""
    held = sorted(
        (trade_id, executions)
        for columns in slabs
        for trade_id, executions in zip(columns.ids, columns.executions, strict=True)
        if isinstance(trade_id, int) and trade_id <= hole.last and trade_id + executions > hole.first
    )
    wanted = hole.first
    for trade_id, executions in held:
        if trade_id > wanted:
            yield wanted, trade_id - 1
        wanted = max(wanted, trade_id + executions)
    if wanted <= hole.last:
        yield wanted, hole.last


def _named(first: int, last: int) -> str:
    """Stands where other gaps name their connection, whose column takes 32 characters."""
    name = f"ids {first}-{last}"
    return name if len(name) <= 32 else f"ids {first}+{last - first}"
