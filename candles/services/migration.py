"""The predecessor's keys into ours: what there is, copy it, and compare both, while everything runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from zlib import crc32

from django.utils import timezone

from candles import legacy, window
from candles.legacy import Fill
from candles.legacy_models import LegacyMigration
from candles.services import legacy_walk as walk
from candles.services.legacy_walk import Report, Series, Stays
from exchanges.state import state_redis, unavailable
from livermore.core import legacy_keys
from livermore.core.candle import Candle

Told = Callable[[Report], None]


@unavailable()
def plan(exchange: str, told: Told = lambda _: None) -> Report:
    """Count the keys and bars, and find those that have no place; nothing changes."""
    report = walk.begun(exchange)
    for some in walk.portions(exchange, report):
        pipe = state_redis().pipeline(transaction=False)
        for series in some:
            pipe.zcard(str(series.key))
        report.bars += sum(pipe.execute())
        report.clean += len(some)
        told(report)
    return report


@unavailable()
def copy(exchange: str, *, rate: float, told: Told = lambda _: None) -> Report:
    """Fill our keys from the predecessor's, at most so many keys a second. Repeating goes on where it was.

    The caller has set the mode to dual before, so that what closes meanwhile is in both.
    """
    report = walk.begun(exchange)
    for some in walk.paced(walk.portions(exchange, report), rate):
        fresh = _changed(exchange, some)
        report.skipped += len(some) - len(fresh)
        fills, signs = [], []
        for series, members in zip(fresh, walk.members([s.key for s in fresh]), strict=True):
            bars = _closed(exchange, series, [member for member, _ in members])
            report.bars += len(bars)
            fills.append(Fill(series.target, series.life_s, bars))
            signs.append(_sign(len(members), members[-1][0] if members else b""))
        for added, raised in legacy.fill(fills):
            report.added, report.raised = report.added + added, report.raised + raised
        _mark(exchange, fresh, signs)
        report.clean += len(some)
        told(report)
    return report


@unavailable()
def verify(exchange: str, *, accepts_loss: bool = False, told: Told = lambda _: None) -> Report:
    """Compare both and remember the outcome; what is not whole is copied again by the next `copy`.

    Who `accepts_loss` does without keys of unknown symbols and bars that cannot be read.
    """
    report = walk.begun(exchange)
    for some in walk.portions(exchange, report):
        unclean = compare(exchange, some, report, accepts_loss=accepts_loss)
        _mark(exchange, unclean, [""] * len(unclean))
        told(report)
    if accepts_loss:
        report.stays[Stays.SYMBOL] = 0
    LegacyMigration.objects.filter(pk=exchange).update(
        checked_keys=report.clean + report.blocking, clean_keys=report.clean, verified_at=timezone.now()
    )
    return report


def compare(exchange: str, some: Sequence[Series], report: Report, *, accepts_loss: bool = False) -> list[Series]:
    """Those of which bars are missing among ours, or there in an earlier state; counted in `report`."""
    unclean = []
    theirs, ours = walk.members([s.key for s in some]), walk.members([s.target for s in some])
    for series, old, new in zip(some, theirs, ours, strict=True):
        report.bars += len(old)
        if series.may_lapse and not new:
            report.clean += 1
            continue
        missing, older, unreadable = _differences(exchange, series, old, new)
        report.missing, report.older = report.missing + missing, report.older + older
        report.unreadable += unreadable
        if missing or older or (unreadable and not accepts_loss):
            unclean.append(series)
        else:
            report.clean += 1
    return unclean


def _differences(
    exchange: str, series: Series, theirs: Sequence[tuple[bytes, float]], ours: Sequence[tuple[bytes, float]]
) -> tuple[int, int, int]:
    """Bars of the predecessor's that are missing among ours, earlier states of theirs, and not readable."""
    there = {int(open_ms): member for member, open_ms in ours}
    oldest = min(there, default=0) if len(there) >= window.KEPT else 0
    ended_ms = _now_ms() - series.timeframe.ms
    missing = older = unreadable = 0
    for member, score in theirs:
        open_ms = int(score)
        held = there.get(open_ms)
        if open_ms > ended_ms or open_ms < oldest or (held is not None and legacy.TAKEN_OVER not in held):
            continue
        found = next(legacy.readable(exchange, series.symbol, series.timeframe, [member]), None)
        if found is None:
            unreadable += 1
        elif held is None:
            missing += 1
        else:
            older += Candle.from_json(held).volume < found.volume
    return missing, older, unreadable


@unavailable()
def register(exchange: str) -> None:
    """Who reads what there: in dual they get every candle that closes, copied or not."""
    spelled = walk.names(exchange)
    pipe = state_redis().pipeline(transaction=False)
    for n, key in enumerate(walk.scan(walk.row(exchange).number)):
        if key.symbol in spelled:
            pipe.hsetnx(legacy_keys.series(exchange, spelled[key.symbol]), str(key), "")
        if n % walk.SCANNED == walk.SCANNED - 1:
            pipe.execute()
    pipe.execute()


def _changed(exchange: str, some: Sequence[Series]) -> list[Series]:
    """Those that were not copied yet, or are not as they were."""
    pipe = state_redis().pipeline(transaction=False)
    for series in some:
        pipe.hget(legacy_keys.series(exchange, series.symbol), str(series.key))
        pipe.zcard(str(series.key))
        pipe.zrange(str(series.key), -1, -1)
        pipe.exists(series.target)
    said = iter(pipe.execute())
    fresh = []
    for series in some:
        copied, count, last, is_there = next(said), next(said), next(said), next(said)
        sign = _sign(min(count, window.KEPT), last[0] if last else b"")
        if not is_there or (copied or b"").decode() != sign:
            fresh.append(series)
    return fresh


def _mark(exchange: str, some: Sequence[Series], signs: Sequence[str]) -> None:
    pipe = state_redis().pipeline(transaction=False)
    for series, sign in zip(some, signs, strict=True):
        pipe.hset(legacy_keys.series(exchange, series.symbol), str(series.key), sign)
    pipe.execute()


def _sign(count: int, last: bytes) -> str:
    """Changes when a bar is added or the newest one, which may still be forming, is replaced."""
    return f"{count}:{crc32(last):08x}"


def _closed(exchange: str, series: Series, members: Sequence[bytes]) -> list[Candle]:
    """Those that can be read and are over: the newest one still forms."""
    ended_ms = _now_ms() - series.timeframe.ms
    found = legacy.readable(exchange, series.symbol, series.timeframe, members)
    return [candle for candle in found if candle.open_ms <= ended_ms]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
