"""Celery tasks from frames to indicators: decode, one service call, enqueue what it returned."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import Any

from celery import Task
from kombu.exceptions import OperationalError

import livermore.tasks
import symbols.tasks
from candles import ledger
from candles.alerting import tasks as alerting
from candles.ledger import Bucket
from candles.services import (
    adopt,
    arrivals,
    bar_signals,
    coverage,
    deliveries,
    failover,
    history,
    indicators,
    ingest,
    rebuild,
    reconcile,
    rename,
    repair,
    retention,
)
from candles.services import close as closing
from candles.services.deliveries import Delivery
from candles.services.signals import should_evaluate
from candles.signal_tasks import evaluate_signals
from exchanges import registry, wire
from exchanges.services import streaming
from livermore.celery import TRIES, TryAgain, app
from livermore.core.candle import Candle
from livermore.core.errors import FrameRejected, InvalidInput, LivermoreError, ProtocolError, Refused, StoreUnavailable
from livermore.core.frame import FrameBatch
from livermore.core.gap import Cause, Gap
from livermore.logs import event

log = logging.getLogger(__name__)

FINAL = (Refused, ProtocolError, InvalidInput)
"""A venue's answers that asking again does not change."""
CLOSE_AT_ONCE = 100
SERIES_AT_ONCE = 100
SYNC_AGAIN_S = 600
ROUND_S = 300
"""A comparison that could not begin for so long is left to the next round."""


# ---- called by the stream host -----------------------------------------------------------------


def publish_batch(batch: FrameBatch) -> None:
    """Put a batch on its exchange's queue. Raises `StoreUnavailable` when the broker does not take it."""
    try:
        ingest_batch.apply_async(
            (wire.pack(batch),),
            queue=f"ticks.{batch.exchange}.0",
            serializer="msgpack",
            argsrepr=f"{batch.exchange} {batch.id} · {len(batch.frames)} frames",
            retry=False,
        )
    except (OperationalError, OSError) as error:
        raise StoreUnavailable(f"the broker does not answer: {error}") from error


def report_gap(gap: Gap) -> None:
    """Have a gap written down and repaired."""
    note_gap.apply_async(
        (gap.exchange, gap.from_ns, gap.to_ns, str(gap.cause), list(gap.symbols), gap.connection),
        argsrepr=f"{gap.exchange} {gap.cause} {gap.connection} · {len(gap.symbols)} symbols",
    )


def stream_started(exchange: str, names: Iterable[str]) -> None:
    """The exchange streams these canonical symbols: fetch the history that their charts lack."""
    for symbol in names:
        load_history.apply_async((exchange, symbol), queue=f"backfill.{exchange}")


# ---- tasks ---------------------------------------------------------------------------------------


@app.task(name="candles.ingest", bind=True, base=TryAgain)
def ingest_batch(self: Task, body: dict[str, Any]) -> None:
    """Store one batch of raw frames; `deliveries` says when it is given up."""
    if livermore.tasks.flies_on(body):
        return
    try:
        done = deliveries.ingest(body, Delivery.of(self.request, TRIES))
    except FrameRejected as error:
        ingest.reject_batch(body, error.why)
        return
    for gap in done.gaps:
        report_gap(gap)
    if done.unknown and ingest.should_sync(done.exchange, SYNC_AGAIN_S):
        symbols.tasks.sync.delay(done.exchange)
    if done.bases and should_evaluate():
        evaluate_signals.delay()


@app.task(name="candles.sweep", expires=2)
def sweep() -> None:
    """Claim what is due at every exchange that is started and have it closed."""
    livermore.tasks.swept()
    for exchange in registry.slugs():
        now_ms = _now_ms()
        coverage.mark_silent(exchange, now_ms)
        while due := ledger.claim(exchange, now_ms, CLOSE_AT_ONCE):
            close.apply_async(
                (exchange, [bucket.member for bucket in due], ledger.lease(now_ms)),
                argsrepr=f"{exchange} · {len(due)} buckets",
            )
        alerting.forming(exchange)


@app.task(name="candles.close")
def close(exchange: str, members: list[str], lease_ms: int) -> None:
    """Fold, audit, record and publish claimed buckets; a crash lets the lease run out."""
    buckets = [Bucket.of(member) for member in members]
    result = closing.close(exchange, buckets)
    if result.candles:
        _enqueue_indicators(exchange, [_series(candle) for candle in result.candles])
    for wanted in repair.note_holes(exchange, result.holes):
        _enqueue_repair(wanted)
    bar_signals.note(exchange, result.candles, _now_ms())
    ledger.settle(exchange, buckets, lease_ms)


@app.task(name="candles.note_gap", base=TryAgain)
def note_gap(exchange: str, from_ns: int, to_ns: int, cause: str, symbols: list[str], connection: str) -> None:
    """Write a gap down and have it repaired."""
    gap = Gap(exchange, from_ns, to_ns, Cause(cause), tuple(symbols), connection)
    for wanted in repair.note(gap):
        _enqueue_repair(wanted)


@app.task(name="candles.repair", base=TryAgain)
def repair_gap(exchange: str, symbol: str, from_ms: int, to_ms: int, ready_ms: int, done_ms: int = 0) -> None:
    """Fetch a page of trades again and store them beside the streamed ones; the rest is another task."""
    try:
        left = repair.repair(repair.Repair(exchange, symbol, from_ms, to_ms, ready_ms, done_ms))
    except FINAL as error:
        _log_refused("repair.refused", exchange, symbol, error)
        return
    if left:
        _enqueue_repair(left)


@app.task(name="candles.adopt_gaps", expires=50)
def adopt_gaps() -> None:
    """Note batches that never came; have the klines of gaps taken that trades cannot close, one task a symbol."""
    for exchange in registry.slugs():
        for gap in arrivals.lost(exchange, _now_ms()):
            report_gap(gap)
    for exchange, symbol in adopt.wanted():
        adopt_klines.apply_async((exchange, symbol), queue=f"backfill.{exchange}")


@app.task(name="candles.adopt", base=TryAgain)
def adopt_klines(exchange: str, symbol: str) -> None:
    """Take the venue's klines for the open gaps of one symbol."""
    try:
        changed = adopt.adopt(exchange, symbol)
    except FINAL as error:
        _log_refused("adopt.refused", exchange, symbol, error)
        return
    if changed:
        _enqueue_indicators(exchange, [_series(candle) for candle in changed])


@app.task(name="candles.reconcile", expires=50)
def reconcile_all() -> None:
    """Have the symbols whose turn it is compared with the venue's own candles, at exchanges that stream."""
    for exchange in streaming():
        for symbol in reconcile.wanted(exchange):
            reconcile_symbol.apply_async((exchange, symbol), queue=f"backfill.{exchange}", expires=ROUND_S)


@app.task(name="candles.reconcile_symbol", base=TryAgain)
def reconcile_symbol(exchange: str, symbol: str) -> None:
    """Compare one symbol's candles with the venue's own, and have mended what differs."""
    try:
        done = reconcile.reconcile(exchange, symbol)
    except FINAL as error:
        _log_refused("reconcile.refused", exchange, symbol, error)
        return
    for needed in done.repairs:
        _enqueue_repair(needed)
    if done.changed:
        _enqueue_indicators(exchange, [_series(candle) for candle in done.changed])


@app.task(name="candles.watch_store", expires=8)
def watch_store() -> None:
    """Have noted what a restart, a failover or a flush of the state Redis may have lost."""
    now_ms = _now_ms()
    for gap in failover.watch(now_ms):
        report_gap(gap)
    failover.seen(now_ms)
    for exchange in failover.lacking():
        rebuild_window.delay(exchange)


@app.task(name="candles.rebuild_window", soft_time_limit=60, time_limit=80)
def rebuild_window(exchange: str) -> None:
    """Put an exchange's hot windows back from the database; what this leaves undone the next one does."""
    done = rebuild.rebuild([exchange])
    for at in range(0, len(done.series), SERIES_AT_ONCE):
        _enqueue_indicators(exchange, done.series[at : at + SERIES_AT_ONCE])


@app.task(name="candles.load_history", base=TryAgain)
def load_history(exchange: str, symbol: str, is_awaited: bool = False) -> None:
    """Fetch the closed candles that charts and indicators of one symbol lack."""
    try:
        changed = history.load(exchange, symbol, is_awaited=is_awaited)
    except FINAL as error:
        _log_refused("history.refused", exchange, symbol, error)
        return
    if changed:
        _enqueue_indicators(exchange, changed)


@app.task(name="candles.retire", expires=3600)
def retire() -> None:
    """Delete candles that are older than they are kept; where many are, the rest is another task."""
    if retention.retire(_now_ms()) >= retention.MOST:
        retire.delay()


@app.task(name="candles.indicators", base=TryAgain)
def compute_indicators(series: list[list[str]]) -> None:
    """Recompute and publish the indicators of series that changed, and their alerts."""
    indicators.compute((exchange, symbol, timeframe) for exchange, symbol, timeframe in series)


@app.task(name="candles.hand_over", base=TryAgain)
def hand_over(exchange: str, old: str, new: str, is_certain: bool = False, waits: int = 0) -> None:
    """Let one symbol (both are natives) go on for another; what is too early is tried again for an hour."""
    try:
        done = rename.hand_over(exchange, old, new, is_certain=is_certain)
    except FINAL as error:
        _log_refused("rename.refused", exchange, new, error)
        return
    if done.is_early and waits < rename.WAITS:
        again = (exchange, old, new, is_certain, waits + 1)
        hand_over.apply_async(again, queue=f"backfill.{exchange}", countdown=rename.WAIT_S)
    if done.series:
        _enqueue_indicators(exchange, done.series)


def _enqueue_indicators(exchange: str, series: list[indicators.Series]) -> None:
    compute_indicators.apply_async((series,), argsrepr=f"{exchange} · {len(series)} series")


def _enqueue_repair(wanted: repair.Repair) -> None:
    wait_s = max(0.0, (wanted.ready_ms - _now_ms()) / 1000)
    repair_gap.apply_async(
        (wanted.exchange, wanted.symbol, wanted.from_ms, wanted.to_ms, wanted.ready_ms, wanted.done_ms),
        queue=f"backfill.{wanted.exchange}",
        countdown=wait_s or None,
    )


def _log_refused(name: str, exchange: str, symbol: str, error: LivermoreError) -> None:
    event(log, name, logging.WARNING, exchange=exchange, symbol=symbol, why=error)


def _series(candle: Candle) -> tuple[str, str, str]:
    return candle.exchange, candle.symbol, str(candle.timeframe)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
