"""The modes of the migration from the predecessor's keys: into dual, over to ours, back, and the end of theirs."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from itertools import chain

from django.db import transaction
from django.utils import timezone

from candles import legacy, window
from candles.legacy_models import LegacyMigration, LegacyModeChange, Mode
from candles.services import legacy_walk as walk
from candles.services import migration
from candles.services.legacy_walk import Report, Series
from candles.services.migration import Told
from candles.window import Span
from exchanges.state import servers, state_redis, unavailable
from livermore.core import legacy_keys
from livermore.core.candle import Timeframe
from livermore.core.errors import Refused
from livermore.logs import event

log = logging.getLogger(__name__)

VERIFIED_WITHIN = timedelta(hours=1)
MARGIN_MS = 60_000
FOREVER_MS = 2**53
"""A candle that was being recorded while the mode changed was written as the mode before said."""


def begin(exchange: str, by: str) -> Mode:
    """From legacy into dual: from now on we write both. Raises `Refused` once it is cut over.

    Who reads there is known before: no candle closes in between.
    """
    found = walk.row(exchange)
    if found.mode in (Mode.LEGACY, Mode.DUAL):
        migration.register(exchange)
    if found.mode == Mode.LEGACY:
        return change(exchange, {Mode.LEGACY}, Mode.DUAL, by, "copy began")
    if found.mode != Mode.DUAL:
        raise Refused(f"{exchange} is {found.mode}: copy is for legacy and dual; `rollback` first")
    return Mode.DUAL


def change(exchange: str, before: set[Mode], after: Mode, by: str, why: str) -> Mode:
    """Change the mode and write down who did it; raises `Refused` from any other mode than these."""
    with transaction.atomic():
        row = LegacyMigration.objects.select_for_update().get(pk=walk.row(exchange).pk)
        if row.mode not in before:
            raise Refused(f"{exchange} is {row.mode}; accepted: {' '.join(sorted(before))}")
        LegacyModeChange.objects.create(exchange_id=exchange, before=row.mode, after=after, by=by[:150], why=why[:200])
        event(log, "legacy.mode", exchange=exchange, before=row.mode, after=after, by=by, why=why)
        row.mode = after
        if after == Mode.SHARED:
            row.cut_over_at = timezone.now()
        row.save(update_fields=["mode", "cut_over_at"])
    return after


@unavailable()
def listeners(exchange: str) -> Counter[str]:
    """Who still listens on the predecessor's channels of an exchange: channel → subscribers, of all nodes.

    Redis does not tell what the subscribers of patterns wait for; they are not among these.
    """
    number = walk.row(exchange).number
    counted: Counter[str] = Counter()
    for server in servers():
        found = [name.decode(errors="replace") for name in server.pubsub_channels(legacy_keys.channels())]
        old = [name for name in found if legacy_keys.number_of_channel(name) == number]
        if old:
            counted.update({name.decode(): int(count) for name, count in server.pubsub_numsub(*old)})
    return +counted


def cut_over(exchange: str, by: str) -> None:
    """From dual to shared: only our keys are written and read.

    Raises `Refused` unless both were found equal within the last hour, and while somebody listens on old channels.
    """
    found = walk.row(exchange)
    if found.mode == Mode.DUAL:
        if found.verified_at is None or found.verified_at < timezone.now() - VERIFIED_WITHIN:
            raise Refused(f"{exchange} was not verified within the last hour: run `migrate_keys verify` first")
        if found.clean_keys < found.checked_keys:
            raise Refused(f"{exchange} is verified to {parity(found)} only: run `copy`, then `verify` again")
        heard = listeners(exchange)
        if heard:
            shown = ", ".join(f"{name} ({count})" for name, count in sorted(heard.items())[:3])
            raise Refused(f"{exchange}: {len(heard)} old channels still have listeners: {shown}")
    change(exchange, {Mode.DUAL}, Mode.SHARED, by, f"verified {parity(found)}, nobody listens")


def parity(row: LegacyMigration) -> str:
    """The share of clean keys in per cent, never rounded up to all of them."""
    share = row.clean_keys / row.checked_keys if row.checked_keys else 1.0
    return f"{int(share * 10_000) / 100:g} %"


@unavailable()
def roll_back(exchange: str, by: str) -> tuple[Mode, int]:
    """One mode back, shared to dual or dual to legacy; the new mode, and how many candles their keys were given.

    What closed since the cut-over is written to the predecessor's keys; a key that has lapsed meanwhile comes back
    whole. Raises `Refused` in legacy, and in done: those keys are gone.
    """
    found = walk.row(exchange)
    if found.mode == Mode.DUAL:
        return change(exchange, {Mode.DUAL}, Mode.LEGACY, by, "rolled back"), 0
    mode = change(exchange, {Mode.SHARED}, Mode.DUAL, by, "rolled back")
    since_ms = int(found.cut_over_at.timestamp() * 1000) - MARGIN_MS if found.cut_over_at else 0
    names = {(exchange, name) for name in walk.names(exchange).values()}
    return mode, sum(_give_back(some, since_ms) for some in _portions(sorted(names)))


def _give_back(names: Sequence[tuple[str, str]], since_ms: int) -> int:
    """Candles of these symbols since then into the predecessor's keys; how many members changed."""
    known = legacy.readers(names)
    listed = [(name, key) for name, of in known.items() for key in of]
    pipe = state_redis().pipeline(transaction=False)
    for _, key in listed:
        pipe.exists(str(key))
    first_ms: dict[tuple[str, str, Timeframe], int] = {}
    for (name, key), is_there in zip(listed, pipe.execute(), strict=True):
        series = (*name, Timeframe(key.timeframe))
        from_ms = since_ms - series[2].ms if is_there else 0
        first_ms[series] = min(from_ms, first_ms.get(series, from_ms))
    found = window.spans([Span(*series, from_ms, FOREVER_MS) for series, from_ms in first_ms.items()])
    return legacy.write(chain.from_iterable(found), known)


@unavailable()
def keep(exchange: str) -> int:
    """In dual, let none of the predecessor's keys lapse that we keep up to date; how many have an expiry."""
    if exchange not in legacy.numbers(Mode.DUAL):
        return 0
    kept = 0
    for some in _portions(sorted({(exchange, name) for name in walk.names(exchange).values()})):
        listed = [str(key) for of in legacy.readers(some).values() for key in of]
        pipe = state_redis().pipeline(transaction=False)
        for key in listed:
            pipe.ttl(key)
        ending = [key for key, life_s in zip(listed, pipe.execute(), strict=True) if life_s >= 0]
        for key in ending:
            pipe.expire(key, legacy.COPY_S)
        pipe.execute()
        kept += len(ending)
    return kept


@unavailable()
def purge(exchange: str, *, rate: float, is_dry: bool, by: str, told: Told = lambda _: None) -> Report:
    """Delete the predecessor's keys whose bars are all among ours, at most so many a second; dry, only count them.

    Those of which ours lack anything stay, and the exchange with them. Once none is left the exchange is done.
    Raises `Refused` unless it is cut over and was verified whole. Repeating goes on where it was.
    """
    found = walk.row(exchange)
    if found.mode != Mode.SHARED:
        raise Refused(f"{exchange} is {found.mode}: only what is cut over (shared) is purged")
    if found.clean_keys < found.checked_keys or found.verified_at is None:
        raise Refused(f"{exchange} is verified to {parity(found)} only: nothing is purged")
    report = walk.begun(exchange)
    homeless: list[legacy_keys.LegacyKey] = []
    for some in walk.paced(walk.portions(exchange, report, homeless), rate):
        unclean = {s.key for s in migration.compare(exchange, some, report, accepts_loss=True)}
        gone = [s.key for s in some if s.key not in unclean] + homeless
        homeless.clear()
        report.purged += len(gone) if is_dry else _delete(exchange, gone, some)
        told(report)
    if not is_dry and report.clean == report.done:
        change(exchange, {Mode.SHARED}, Mode.DONE, by, f"{report.purged} keys purged")
    return report


def _delete(exchange: str, gone: Sequence[legacy_keys.LegacyKey], some: Sequence[Series]) -> int:
    symbols = {s.key: s.symbol for s in some}
    pipe = state_redis().pipeline(transaction=False)
    for key in gone:
        pipe.unlink(str(key))
    deleted = sum(pipe.execute())
    for key in gone:
        if key in symbols:
            pipe.hdel(legacy_keys.series(exchange, symbols[key]), str(key))
    pipe.execute()
    return int(deleted)


def _portions(names: Sequence[tuple[str, str]]) -> list[Sequence[tuple[str, str]]]:
    return [names[at : at + 500] for at in range(0, len(names), 500)]
