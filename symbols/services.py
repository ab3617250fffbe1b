"""Changes to the symbol tables, and the symbol lists that streams and workers use."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from exchanges.metadata import note_synced
from exchanges.venue import Instrument, Rest
from livermore.core.errors import InvalidInput, RemoteProtocolError
from livermore.core.symbol import Symbol, SymbolBook
from symbols import renames
from symbols.models import ExchangeSymbol, UserSymbolSubscription
from symbols.moves import moves

_DAY_MS = 86_400_000
_FROM_VENUE = ("base", "quote", "name", "status", "is_trading", "tick", "lot", "quote_precision")


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What a sync did. `conflicts` are natives left out because another one trades under their name.

    `renamed` are pairs of natives of which the second may be the first under another name.
    """

    exchange: str
    listed: int
    trading: int
    created: int
    changed: int
    delisted: int
    conflicts: tuple[str, ...] = ()
    renamed: tuple[renames.Pair, ...] = ()


# ---- the instrument list -----------------------------------------------------------------------


def sync(exchange_slug: str, rest: Rest) -> SyncResult:
    """Make the table say what the venue lists now; nothing is ever deleted.

    Raises what the REST raises, and `RemoteProtocolError` for an empty list, which would delist all.
    """
    instruments = {i.native: i for i in rest.instruments()}
    if not instruments:
        raise RemoteProtocolError(f"{exchange_slug} lists no instruments")
    now = timezone.now()
    with transaction.atomic():
        known = {s.native: s for s in ExchangeSymbol.objects.filter(exchange_id=exchange_slug)}
        conflicts = _conflicts(instruments.values(), known)
        rows = [_row(exchange_slug, i, i.native not in conflicts, now) for i in instruments.values()]
        changed = [r for r in rows if r.native in known and _said(r) != _said(known[r.native])]
        delisted = [s for s in known.values() if s.is_trading and s.native not in instruments]
        # A name must be free before another native takes it: at most one trades under it at any time.
        leaving = [s.pk for s in delisted] + [known[r.native].pk for r in changed]
        ExchangeSymbol.objects.filter(pk__in=leaving).update(is_trading=False)
        ExchangeSymbol.objects.bulk_create(
            rows,
            update_conflicts=True,
            unique_fields=["exchange", "native"],
            update_fields=[*_FROM_VENUE, "last_seen"],
        )
        note_synced(exchange_slug, moves(known, rows, delisted))
    halted = [r for r in changed if known[r.native].is_trading and not r.is_trading]
    fresh = [r for r in rows if r.is_trading and r.native not in known]
    return SyncResult(
        exchange=exchange_slug,
        listed=len(rows),
        trading=sum(r.is_trading for r in rows),
        created=sum(r.native not in known for r in rows),
        changed=len(changed),
        delisted=len(delisted),
        conflicts=tuple(sorted(conflicts)),
        renamed=renames.candidates(delisted, halted, fresh),
    )


def _conflicts(instruments: Iterable[Instrument], known: Mapping[str, ExchangeSymbol]) -> set[str]:
    """Trading natives that share their canonical name with one that traded before, or came first."""

    def is_newcomer(instrument: Instrument) -> bool:
        row = known.get(instrument.native)
        return row is None or not row.is_trading or row.name != str(instrument.symbol)

    taken: set[Symbol] = set()
    losers = set()
    for instrument in sorted((i for i in instruments if i.is_trading), key=is_newcomer):
        if instrument.symbol in taken:
            losers.add(instrument.native)
        taken.add(instrument.symbol)
    return losers


def _row(exchange_slug: str, instrument: Instrument, may_trade: bool, now: datetime) -> ExchangeSymbol:
    return ExchangeSymbol(
        exchange_id=exchange_slug,
        native=instrument.native,
        base=instrument.symbol.base,
        quote=instrument.symbol.quote,
        name=str(instrument.symbol),
        status=instrument.status[:32],
        is_trading=instrument.is_trading and may_trade,
        tick=instrument.tick,
        lot=instrument.lot,
        quote_precision=instrument.quote_precision,
        first_seen=now,
        last_seen=now,
    )


def _said(row: ExchangeSymbol) -> tuple[Any, ...]:
    return tuple(getattr(row, name) for name in _FROM_VENUE)


# ---- what streams and workers read -------------------------------------------------------------


def streamed_names(slug: str) -> dict[str, str]:
    """Native → canonical name of everything that must be streamed at an exchange now."""
    return dict(ExchangeSymbol.objects.filter(exchange_id=slug).streamed().values_list("native", "name"))


def book(slug: str) -> SymbolBook:
    """The names of all symbols that trade at an exchange; equal contents have equal versions."""
    trading = ExchangeSymbol.objects.filter(exchange_id=slug).trading()
    names = dict(trading.order_by("native").values_list("native", "name"))
    digest = blake2b(repr(list(names.items())).encode(), digest_size=6).digest()
    return SymbolBook(exchange=slug, names=names, version=int.from_bytes(digest, "big"))


# ---- subscriptions -----------------------------------------------------------------------------


def follow(
    user: Any, symbol: ExchangeSymbol, source: str = "manual", *, expires_at: datetime | None = None
) -> UserSymbolSubscription:
    """Add one reason for which a user follows a symbol; all reasons share one row.

    The latest of the expiries holds, and none at all holds for ever. Raises `InvalidInput` for an
    unknown source.
    """
    _check_source(source)
    with transaction.atomic():
        row, is_new = UserSymbolSubscription.objects.select_for_update().get_or_create(
            user=user, symbol=symbol, defaults={"expires_at": expires_at}
        )
        if not is_new:
            ends = (row.expires_at, expires_at)
            row.expires_at = None if None in ends else max(e for e in ends if e)
        row.set_reasons({*row.reasons, source})
        row.save()
        ExchangeSymbol.objects.filter(pk=symbol.pk, tier=None).update(tier=2)
    return row


def unfollow(user: Any, symbol: ExchangeSymbol, source: str) -> UserSymbolSubscription | None:
    """Take one reason away; returns the row that other reasons keep, or None when nothing is left."""
    _check_source(source)
    with transaction.atomic():
        row = UserSymbolSubscription.objects.select_for_update().filter(user=user, symbol=symbol).first()
        if row is None:
            return None
        row.set_reasons(set(row.reasons) - {source})
        if row.reasons:
            row.save()
            return row
        row.delete()
        _leave_tier2({symbol.pk})
    return None


def drop(subscriptions: QuerySet[UserSymbolSubscription]) -> None:
    """Delete subscriptions, whatever their reasons."""
    with transaction.atomic():
        followed = set(subscriptions.values_list("symbol_id", flat=True))
        subscriptions.delete()
        _leave_tier2(followed)


def _leave_tier2(symbol_ids: Collection[int]) -> None:
    """Symbols that nobody follows any more are in no tier."""
    live = UserSymbolSubscription.objects.live().values("symbol_id")
    ExchangeSymbol.objects.filter(pk__in=symbol_ids, tier=2).exclude(pk__in=live).update(tier=None)


def _check_source(source: str) -> None:
    if source not in UserSymbolSubscription.SOURCES:
        raise InvalidInput(f"source {source!r} does not exist; accepted: {' '.join(UserSymbolSubscription.SOURCES)}")
