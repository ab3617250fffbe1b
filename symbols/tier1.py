"""Tier 1 of an exchange: ranked anew by turnover in dollars, and what each refresh did to it."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from django.db import transaction
from django.utils import timezone

from exchanges.models import Exchange
from exchanges.venue import Rest
from livermore.core.candle import Timeframe
from livermore.core.errors import RemoteProtocolError
from livermore.core.symbol import Symbol
from symbols import ranking
from symbols.models import ExchangeSymbol, Tier1Refresh, UserSymbolSubscription

KEPT = timedelta(days=90)
"""So long it can be told what each refresh did."""
_DAY_MS = 86_400_000
_FROM_RANKING = ["turnover_24h", "turnover_usd_24h", "rank", "tier", "refreshes_below"]


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


def refresh(exchange_slug: str, rest: Rest) -> Tier1Result:
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
        ranking.Market(
            row.native,
            Symbol(row.base, row.quote),
            volumes.get(row.native) or Decimal(0),
            is_tier1=row.tier == 1,
            refreshes_below=row.refreshes_below,
        )
        for row in rows
    ]
    ranked = ranking.rank(markets, rates, exchange.tier1_size, merges_usd_usdc=exchange.merges_usd_usdc)
    before = {row.native: row.name for row in rows if row.tier == 1}
    _write_ranks(exchange_slug, rows, {r.native: r for r in ranked}, volumes)
    names = {row.native: row.name for row in rows}
    after = {r.native for r in ranked if r.is_tier1}
    done = Tier1Result(
        exchange=exchange_slug,
        ranked=sum(r.rank is not None for r in ranked),
        unranked=sum(r.rank is None for r in ranked),
        tier1=len(after),
        entered=tuple(sorted(names[n] for n in after - before.keys())),
        left=tuple(sorted(before[n] for n in before.keys() - after)),
        coverage=_coverage(ranked),
    )
    _note(done)
    return done


def _note(done: Tier1Result) -> None:
    now = timezone.now()
    Tier1Refresh.objects.create(
        exchange_id=done.exchange,
        at=now,
        ranked=done.ranked,
        tier1=done.tier1,
        entered=list(done.entered),
        left=list(done.left),
        coverage=done.coverage,
    )
    Tier1Refresh.objects.filter(exchange_id=done.exchange, at__lt=now - KEPT).delete()


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
            row.refreshes_below = result.refreshes_below
        ExchangeSymbol.objects.bulk_update(rows, _FROM_RANKING)
        stopped = ExchangeSymbol.objects.filter(exchange_id=exchange_slug, is_trading=False)
        stopped.exclude(rank=None, tier=None).update(rank=None, tier=None)


def _followed(exchange_slug: str) -> set[int]:
    live = UserSymbolSubscription.objects.live().filter(symbol__exchange_id=exchange_slug)
    return set(live.values_list("symbol_id", flat=True))


def _coverage(ranked: Collection[ranking.Ranked]) -> Decimal:
    total = sum((r.turnover_usd or Decimal(0) for r in ranked), Decimal(0))
    covered = sum((r.turnover_usd or Decimal(0) for r in ranked if r.is_tier1), Decimal(0))
    return (covered / total).quantize(Decimal("0.0001")) if total else Decimal(0)
