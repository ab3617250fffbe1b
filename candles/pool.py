"""Where the hot window of a series lives: once for all in the shared pool, or with each user who follows it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from django.db.models import Q

from livermore.core import keys
from livermore.core.candle import Timeframe
from symbols.models import DOLLAR_COIN_MARKETS, ExchangeSymbol, UserSymbolSubscription

Name = tuple[str, str]
"""Exchange and canonical symbol."""


class Place(NamedTuple):
    """In the shared pool, or else with these followers, the lowest user id first; perhaps nowhere."""

    is_shared: bool
    followers: tuple[int, ...] = ()

    def keys(self, exchange: str, symbol: str, timeframe: Timeframe | str) -> list[str]:
        """The keys to which a candle of this series is written."""
        if self.is_shared:
            return [keys.candles(exchange, symbol, timeframe)]
        return [keys.user_candles(user, exchange, symbol, timeframe) for user in self.followers]


SHARED = Place(is_shared=True)


def places(names: Iterable[Name]) -> Mapping[Name, Place]:
    """Where these symbols' windows live now, by tier and live subscriptions; two queries at most.

    Tier 1 and the dollar coins' own markets are the shared pool, whoever follows them. A symbol that no table
    knows is nobody's, so it is not kept from anyone.
    """
    wanted = set(names)
    found = _rows(wanted)
    outside = {pk: name for name, rows in found.items() if not any(rows.values()) for pk in rows}
    followers: dict[Name, set[int]] = {}
    if outside:
        live = UserSymbolSubscription.objects.live().filter(symbol_id__in=list(outside))
        for symbol_id, user in live.values_list("symbol_id", "user_id"):
            followers.setdefault(outside[symbol_id], set()).add(user)
    alone = set(outside.values())
    return {
        name: Place(is_shared=False, followers=tuple(sorted(followers.get(name, ())))) if name in alone else SHARED
        for name in wanted
    }


def shared(exchange: str) -> set[str]:
    """The names in the shared pool of an exchange."""
    return set(ExchangeSymbol.objects.filter(_POOL, exchange_id=exchange).values_list("name", flat=True))


_POOL = Q(tier=1) | Q(name__in=DOLLAR_COIN_MARKETS)


def _rows(wanted: Collection[Name]) -> dict[Name, dict[int, bool]]:
    """By name: is each of its rows in the shared pool? A name may have been another symbol's before."""
    exchanges, names = {exchange for exchange, _ in wanted}, {name for _, name in wanted}
    found: dict[Name, dict[int, bool]] = {}
    rows = ExchangeSymbol.objects.filter(exchange_id__in=exchanges, name__in=names).order_by()
    for pk, exchange, name, tier in rows.values_list("pk", "exchange_id", "name", "tier"):
        if (exchange, name) in wanted:
            is_pool = tier == 1 or name in DOLLAR_COIN_MARKETS
            found.setdefault((exchange, name), {})[pk] = is_pool
    return found
