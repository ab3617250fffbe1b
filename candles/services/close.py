"""From due buckets to closed candles: fold, audit, record, and the larger candles that follow."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from candles import ledger
from candles.audit import Verdict, judge
from candles.fold import Folded, fold, fold_believed
from candles.ledger import Bucket, Edge
from candles.services.carry import carry
from candles.services.evidence import Evidence
from candles.services.larger import larger
from candles.services.record import Closed, record
from candles.slab import Slab
from exchanges import tally
from livermore.core.candle import BUCKET_MS, Candle, Quality
from livermore.core.errors import FrameRejected
from livermore.core.frame import runs
from livermore.logs import event

log = logging.getLogger(__name__)

ASK_AGAIN_MS = 5_000
UNHEARD_MS = 45_000
"""A stream host that has been silent for so long is gone: its state expires after 30 s."""
_NONSENSE = (FrameRejected, ArithmeticError, TypeError, ValueError)


@dataclass(slots=True)
class Closing:
    """What came of closing some buckets: candles as they now stand, and buckets whose ids show a hole."""

    candles: list[Candle] = field(default_factory=list)
    holes: list[Bucket] = field(default_factory=list)


def close(exchange: str, buckets: Sequence[Bucket]) -> Closing:
    """Fold and record these buckets; the caller settles them afterwards. Repeating is harmless."""
    result = Closing()
    buckets = sorted(set(buckets))
    if not buckets:
        return result
    started = time.perf_counter()
    found = ledger.slabs(exchange, buckets)
    borders = ledger.edges(exchange, buckets)
    evidence = Evidence(exchange, buckets)
    open_ended = [b for b, (_, after) in zip(buckets, borders, strict=True) if after is None and evidence.has_chain]
    following = _following(exchange, open_ended)
    closed: list[Closed] = []
    edges: dict[Bucket, Edge] = {}
    again: list[Bucket] = []
    for bucket, slabs, (stored_before, after) in zip(buckets, found, borders, strict=True):
        earlier = Bucket(bucket.symbol, bucket.open_ms - BUCKET_MS)
        before = edges.get(earlier, stored_before)
        folded, doubted, good = _folded(evidence, bucket, slabs)
        witnesses = evidence.witnesses(bucket, folded, (before, _vouched(after)), good, following.get(bucket, {}))
        is_covered = witnesses.is_covered and len(good) == len(slabs)
        verdict = judge(folded, replace(witnesses, is_covered=is_covered, doubted=doubted))
        candle = evidence.candle(bucket, folded, verdict)
        if verdict.has_hole:
            result.holes.append(bucket)
        edge = _edge(folded, verdict, before)
        if edge is not None:
            edges[bucket] = edge
            if before is not None and not before.is_proven and _tells_of(before, edge, folded):
                again.append(earlier)
        if candle is not None:
            closed.append(_closed(candle, folded))
            evidence.remember(candle)
            _log(candle, slabs, folded)
    result.candles = _recorded(closed)
    ledger.keep_edges(exchange, edges)
    _ask_again(exchange, again, [b for b in buckets if evidence.coverage.is_unheard(b.end_ms)])
    _summarise(exchange, result, started)
    return result


def _following(exchange: str, buckets: Sequence[Bucket]) -> dict[Bucket, dict[str, Slab]]:
    """What has come of each one's successor: its trades can prove the border before it is closed itself."""
    found = ledger.slabs(exchange, [Bucket(b.symbol, b.end_ms) for b in buckets])
    return {bucket: _readable(slabs) for bucket, slabs in zip(buckets, found, strict=True)}


def _ask_again(exchange: str, joined: Sequence[Bucket], unheard: Sequence[Bucket]) -> None:
    """Buckets to judge once more: at once where the right border became known only now, later where the
    stream host has not said anything since their end."""
    now_ms = _now_ms()
    ledger.mark(exchange, joined, now_ms=now_ms, again=True)
    waiting = [bucket for bucket in unheard if now_ms < bucket.end_ms + UNHEARD_MS]
    ledger.mark(exchange, waiting, now_ms=now_ms + ASK_AGAIN_MS, again=True)


def _readable(slabs: Mapping[str, Slab | None]) -> dict[str, Slab]:
    return {name: slab for name, slab in slabs.items() if slab is not None}


def _folded(
    evidence: Evidence, bucket: Bucket, slabs: Mapping[str, Slab | None]
) -> tuple[Folded | None, int, dict[str, Slab]]:
    """The fold, how many trades it doubts, and the slabs it was made of; one that is nonsense is left out."""
    good = _readable(slabs)
    reference, step = evidence.price_before(bucket), evidence.turnover_step(bucket.symbol)
    try:
        folded, doubted = fold_believed(good, reference, turnover_step=step)
    except _NONSENSE:
        good = {name: slab for name, slab in good.items() if _is_foldable(slab)}
        folded, doubted = fold_believed(good, reference, turnover_step=step)
    if len(good) < len(slabs):
        bad = sorted(set(slabs) - set(good))
        ledger.count_rejected(evidence.exchange, "slab cannot be folded", len(bad))
        event(
            log, "slab.rejected", logging.ERROR, exchange=evidence.exchange, symbol=bucket.symbol,
            open=bucket.open_ms, slabs=bad,
        )  # fmt: skip
    return folded, doubted, good


def _is_foldable(slab: Slab) -> bool:
    try:
        fold({"": slab})
    except _NONSENSE:
        return False
    return True


def _edge(folded: Folded | None, verdict: Verdict, before: Edge | None) -> Edge | None:
    is_proven = verdict.quality is Quality.PROVEN
    if folded is None:
        return None if before is None else Edge(before.last + 1, before.last, verdict.quality is Quality.EMPTY)
    if folded.first_id is None or folded.last_id is None:
        return None
    return Edge(folded.first_id, folded.last_id, is_proven)


def _recorded(closed: Sequence[Closed]) -> list[Candle]:
    """With what follows: flat candles behind them, and larger ones of them."""
    standing = record(closed)
    standing += carry(standing)
    return standing + record(larger(standing))


def _closed(candle: Candle, folded: Folded | None) -> Closed:
    if folded is None:
        return Closed(candle, 0)
    ids = (folded.first_id, folded.last_id)
    return Closed(candle, folded.trades, folded.confirmed, ids, folded.repeated)


def _is_carried(edge: Edge) -> bool:
    """Of a bucket without trades that nobody vouches for: it knows what came before it, and proves nothing."""
    return edge.first > edge.last and not edge.is_proven


def _vouched(after: Edge | None) -> Edge | None:
    return None if after is None or _is_carried(after) else after


def _tells_of(before: Edge, edge: Edge, folded: Folded | None) -> bool:
    """Does it say how the one before it ends? It joins; or REST gave all of it, and then that one lacks its end."""
    is_whole = folded is not None and folded.confirmed == folded.trades
    return not _is_carried(edge) and (before.last + 1 == edge.first or is_whole)


def _log(candle: Candle, slabs: Collection[str], folded: Folded | None) -> None:
    if log.isEnabledFor(logging.DEBUG):
        event(
            log, "candle.closed", logging.DEBUG, exchange=candle.exchange, symbol=candle.symbol, open=candle.open_ms,
            trades=candle.trades, slabs=len(slabs), quality=candle.quality,
            conflicts=folded.conflicts if folded else 0, batches=runs(slabs),
        )  # fmt: skip


def _summarise(exchange: str, done: Closing, started: float) -> None:
    spent_s = time.perf_counter() - started
    tally.observe(tally.FOLD, exchange, value=spent_s)
    if done.candles:
        spent_ms = round(spent_s * 1000)
        event(
            log, "buckets.closed", exchange=exchange, candles=len(done.candles), holes=len(done.holes), ms=spent_ms
        )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


