"""Changes to the symbol tables, and the symbol lists that streams and workers use."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from hashlib import blake2b
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from exchanges.models import Exchange
from exchanges.venue import Instrument, Rest
from livermore.core.candle import Timeframe
from livermore.core.errors import InvalidInput, RemoteProtocolError
from livermore.core.symbol import Symbol, SymbolBook
from symbols import ranking, renames
from symbols.models import ExchangeSymbol, UserSymbolSubscription

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


@dataclass(frozen=True, slots=True)
class Tier1Result:
    """What a refresh did; `coverage` is Tier 1's share of the exchange's turnover in dollars."""

    exchange: str
    ranked: int
    unranked: int
    tier1: int
    entered: tuple[str, ...]
    left: tuple[str, ...]
    coverage: Decimal


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


# ---- Tier 1 ------------------------------------------------------------------------------------


def refresh_tier1(exchange_slug: str, rest: Rest) -> Tier1Result:
    """Rank the trading symbols by 24 h turnover in dollars and set their tiers.

    A symbol stays unranked where its quote has no price in dollars at this venue. Raises what the REST
    raises, and `RemoteProtocolError` when it says no turnover at all, which would empty Tier 1.
    """
    exchange = Exchange.objects.get(pk=exchange_slug)
    rows = list(ExchangeSymbol.objects.filter(exchange_id=exchange_slug).trading())
    volumes = rest.volumes()
    if rows and not any(volumes.get(row.native) for row in rows):
        raise RemoteProtocolError(f"{exchange_slug} says no 24 h turnover")
    rates = ranking.usd_rates({row.quote for row in rows}, _prices(rest, rows, volumes))
    markets = [
        ranking.Market(row.native, Symbol(row.base, row.quote), volumes.get(row.native) or Decimal(0), row.tier == 1)
        for row in rows
    ]
    ranked = ranking.rank(markets, rates, exchange.tier1_size, merges_usd_usdc=exchange.merges_usd_usdc)
    before = {row.native: row.name for row in rows if row.tier == 1}
    _write_ranks(exchange_slug, rows, {r.native: r for r in ranked}, volumes)
    names = {row.native: row.name for row in rows}
    after = {r.native for r in ranked if r.is_tier1}
    return Tier1Result(
        exchange=exchange_slug,
        ranked=sum(r.rank is not None for r in ranked),
        unranked=sum(r.rank is None for r in ranked),
        tier1=len(after),
        entered=tuple(sorted(names[n] for n in after - before.keys())),
        left=tuple(sorted(before[n] for n in before.keys() - after)),
        coverage=_coverage(ranked),
    )


def _prices(
    rest: Rest, rows: Sequence[ExchangeSymbol], volumes: Mapping[str, Decimal]
) -> dict[Symbol, Decimal]:
    """The newest hourly close of each market that turns a quote into dollars."""
    natives = {Symbol(row.base, row.quote): row.native for row in rows}
    turnovers = {symbol: volumes.get(native) or Decimal(0) for symbol, native in natives.items()}
    hour_ms = Timeframe.H1.ms
    end_ms = (time.time_ns() // 1_000_000 // hour_ms + 1) * hour_ms
    prices = {}
    for symbol in ranking.rate_markets({row.quote for row in rows}, turnovers):
        klines = rest.klines(natives[symbol], Timeframe.H1, end_ms - _DAY_MS, end_ms)
        if klines:
            prices[symbol] = max(klines, key=lambda k: k.open_ms).close
    return prices


def _write_ranks(
    exchange_slug: str,
    rows: Sequence[ExchangeSymbol],
    ranked: Mapping[str, ranking.Ranked],
    volumes: Mapping[str, Decimal],
) -> None:
    with transaction.atomic():
        followed = _followed(exchange_slug)
        for row in rows:
            result = ranked[row.native]
            row.turnover_24h = volumes.get(row.native)
            row.turnover_usd_24h = result.turnover_usd
            row.rank = result.rank
            row.tier = 1 if result.is_tier1 else 2 if row.pk in followed else None
        ExchangeSymbol.objects.bulk_update(rows, ["turnover_24h", "turnover_usd_24h", "rank", "tier"])
        stopped = ExchangeSymbol.objects.filter(exchange_id=exchange_slug, is_trading=False)
        stopped.exclude(rank=None, tier=None).update(rank=None, tier=None)


def _followed(exchange_slug: str) -> set[int]:
    live = UserSymbolSubscription.objects.live().filter(symbol__exchange_id=exchange_slug)
    return set(live.values_list("symbol_id", flat=True))


def _coverage(ranked: Collection[ranking.Ranked]) -> Decimal:
    total = sum((r.turnover_usd or Decimal(0) for r in ranked), Decimal(0))
    covered = sum((r.turnover_usd or Decimal(0) for r in ranked if r.is_tier1), Decimal(0))
    return (covered / total).quantize(Decimal("0.0001")) if total else Decimal(0)


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
