"""Alerts on MACD-V: judge the newest closed bars of each series, tell what came of it, and remember it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.db import transaction

from candles import publish
from candles.indicators import trust
from candles.indicators.alerts import KIND, Judgement, Memory, Rules, identity, judge
from candles.models import Alert as AlertRow
from candles.models import AlertMemory
from candles.services import alert_event, alert_rules
from candles.services.alert_event import Looked, Place
from exchanges.state import state_redis, unavailable
from livermore.core import keys
from livermore.core.candle import Timeframe
from livermore.logs import event as log_event

log = logging.getLogger(__name__)

LATE_BARS = 3
"""A bar so far behind the newest may still raise an alert, when its revision asks for one."""
LATE_MS = 30 * 60_000
"""Whatever ended longer ago is no news any more: after an outage nobody is told of old moves."""
LATE = "late"
_SKEW_MS = 60_000
_NAMES = ("exchange_id", "symbol", "timeframe")


@dataclass(slots=True)
class _Round:
    """What one evaluation has to write and to tell; `events` by the id that no repeat may tell twice."""

    now_ms: int
    events: dict[str, dict[str, Any]] = field(default_factory=dict)
    new: list[AlertRow] = field(default_factory=list)
    noted: list[AlertRow] = field(default_factory=list)
    memories: list[AlertMemory] = field(default_factory=list)
    suppressed: Counter[tuple[str, str]] = field(default_factory=Counter)
    since_ms: int = 2**53


def evaluate(looked: Iterable[Looked], now_ms: int) -> int:
    """Judge these series, tell new alerts and those a revision changed; how many were told now.

    Told first and written then, in one transaction with what is remembered: a crash in between is repeated
    with the same ids, which the stream knows. Raises `StoreUnavailable`.
    """
    rules = alert_rules.current()
    wanted = {of.place: of for of in looked if of.place[2] in rules.timeframes and len(of.bars)}
    if not wanted:
        return 0
    with transaction.atomic():
        known = _memories(wanted)
        this = _Round(now_ms)
        for place, of in sorted(wanted.items()):
            _look(this, rules.rules, of, known.get(place))
        told = publish.alerts_once(this.events, this.since_ms - _SKEW_MS)
        _write(this)
    _count(this.suppressed)
    for row in this.new:
        log_event(
            log, "alert.raised", exchange=row.exchange_id, symbol=row.symbol, timeframe=row.timeframe,
            label=row.label, open=row.open_ms, value=row.event["value"],
        )  # fmt: skip
    return told


def _memories(wanted: Mapping[Place, Looked]) -> dict[Place, AlertMemory]:
    """What is remembered of these, locked: of two that evaluate a series at once the second sees the first's."""
    exchanges, symbols, timeframes = zip(*wanted, strict=True)
    rows = AlertMemory.objects.select_for_update().filter(
        exchange_id__in=set(exchanges), symbol__in=set(symbols), timeframe__in=set(timeframes)
    )
    return {(row.exchange_id, row.symbol, row.timeframe): row for row in rows.order_by("pk")}


def _look(this: _Round, rules: Rules, of: Looked, row: AlertMemory | None) -> None:
    memory = None if row is None else Memory.from_dict(row.memory)
    since_ms = of.bars.open_ms[-1] if memory is None else memory.bars[0].open_ms
    bars = trust.watched(of.candles, of.bars, of.lines, since_ms, needs_converged=rules.needs_converged)
    done = judge(rules, memory, bars)
    if done.memory == memory:
        return
    this.memories.append(AlertMemory(**dict(zip(_NAMES, of.place, strict=True)), memory=done.memory.to_dict()))
    if memory is None or done.since_ms is None:
        return
    standing: dict[tuple[str, int], AlertRow] = {}
    if done.since_ms <= memory.bars[-1].open_ms:
        standing = _standing(of.place, done.since_ms)
    _raise(this, rules, of, done, standing)
    _note(this, rules, of, done, standing)


def _standing(place: Place, since_ms: int) -> dict[tuple[str, int], AlertRow]:
    rows = AlertRow.objects.filter(**dict(zip(_NAMES, place, strict=True)), kind=KIND, open_ms__gte=since_ms)
    return {(row.label, row.open_ms): row for row in rows.order_by("pk")}


def _raise(
    this: _Round, rules: Rules, of: Looked, done: Judgement, standing: Mapping[tuple[str, int], AlertRow]
) -> None:
    length_ms = Timeframe(of.place[2]).ms
    oldest_ms = max(of.bars.open_ms[-1] - LATE_BARS * length_ms, this.now_ms - LATE_MS - length_ms)
    for hit in done.hits:
        if (hit.label, hit.bar.open_ms) in standing:
            continue
        doubt = hit.bar.blocked or (LATE if hit.bar.open_ms < oldest_ms else None)
        if doubt is not None:
            this.suppressed[of.place[0], doubt] += 1
            continue
        name = identity(*of.place, hit.label, hit.bar.open_ms)
        told = alert_event.raised(of, hit, rules, name, this.now_ms)
        _tell(this, f"{name}:0", told, hit.bar.open_ms + length_ms)
        this.new.append(
            AlertRow(
                **dict(zip(_NAMES, of.place, strict=True)), event_id=name, kind=KIND, label=hit.label,
                open_ms=hit.bar.open_ms, price=Decimal(told["price"]), raised_ms=this.now_ms, event=told,
            )
        )  # fmt: skip


def _note(
    this: _Round, rules: Rules, of: Looked, done: Judgement, standing: Mapping[tuple[str, int], AlertRow]
) -> None:
    """An alert whose bar was revised stays, and says what has become of it."""
    hits = {(hit.label, hit.bar.open_ms): hit for hit in done.hits}
    judged = {bar.open_ms: bar for bar in done.memory.bars}
    for place, row in standing.items():
        bar, hit = judged.get(row.open_ms), hits.get(place)
        said = row.event["revised"] or {"stands": True, "bar_version": row.event["bar_version"], "count": 0}
        if bar is None or (said["stands"], said["bar_version"]) == (hit is not None, bar.revision):
            continue
        row.event = alert_event.revised(row.event, bar, said["count"] + 1, this.now_ms, stands=hit is not None)
        _tell(this, f"{row.event_id}:{said['count'] + 1}", row.event, row.open_ms)
        this.noted.append(row)


def _tell(this: _Round, name: str, event: dict[str, Any], since_ms: int) -> None:
    this.events[name] = event
    this.since_ms = min(this.since_ms, since_ms)


def _write(this: _Round) -> None:
    AlertRow.objects.bulk_create(this.new, ignore_conflicts=True)
    AlertRow.objects.bulk_update(this.noted, ["event"])
    AlertMemory.objects.bulk_create(
        this.memories,
        update_conflicts=True,
        unique_fields=["exchange", "symbol", "timeframe"],
        update_fields=["memory"],
    )


@unavailable()
def _count(suppressed: Mapping[tuple[str, str], int]) -> None:
    pipe = state_redis().pipeline(transaction=False)
    for (exchange, reason), count in suppressed.items():
        pipe.hincrby(keys.unalerted(exchange), reason, count)
    pipe.execute()


@unavailable()
def suppressed(exchanges: Sequence[str]) -> dict[str, dict[str, int]]:
    """By exchange: reason → how many alerts it kept back."""
    pipe = state_redis().pipeline(transaction=False)
    for exchange in exchanges:
        pipe.hgetall(keys.unalerted(exchange))
    found = zip(exchanges, pipe.execute(), strict=True)
    return {exchange: {k.decode(): int(v) for k, v in counted.items()} for exchange, counted in found if counted}
