"""Rebrands, as far as symbol tables tell of them: who may have become whom, and what goes over to the new name."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from django.db import transaction

from symbols.models import ExchangeSymbol, UserSymbolSubscription

Pair = tuple[str, str]
"""The natives before and after."""

_Terms = tuple[str, Decimal | None, Decimal | None]


def candidates(
    vanished: Iterable[ExchangeSymbol], halted: Iterable[ExchangeSymbol], fresh: Iterable[ExchangeSymbol]
) -> tuple[Pair, ...]:
    """Symbols that ended together with the only new one that has their quote, tick and lot.

    A symbol that the venue lists no more is believed to have ended before one that it still lists without trading.
    Where two are alike, on either side, it is for an operator to say. What else speaks for a pair is its prices'.
    """
    new, gone, still = _by_terms(fresh), _by_terms(vanished), _by_terms(halted)
    pairs = []
    for terms, natives in new.items():
        ended = gone.get(terms) or still.get(terms) or []
        if len(natives) == len(ended) == 1:
            pairs.append((ended[0], natives[0]))
    return tuple(sorted(pairs))


def link(old: ExchangeSymbol, new: ExchangeSymbol) -> None:
    """The new row remembers the old one and takes its tier, its rank and its live subscriptions over.

    Repeating is harmless.
    """
    with transaction.atomic():
        locked = ExchangeSymbol.objects.select_for_update().in_bulk(sorted({old.pk, new.pk}))
        before, after = locked[old.pk], locked[new.pk]
        after.rename_of = before
        after.tier, after.rank = before.tier or after.tier, before.rank or after.rank
        before.tier = before.rank = None
        for row in (before, after):
            row.save(update_fields=["rename_of", "tier", "rank"])
        theirs = {s.user_id: s for s in UserSymbolSubscription.objects.select_for_update().filter(symbol=after)}
        for subscription in UserSymbolSubscription.objects.live().select_for_update().filter(symbol=before):
            _hand_over(subscription, after, theirs.get(subscription.user_id))


def _hand_over(moved: UserSymbolSubscription, to: ExchangeSymbol, other: UserSymbolSubscription | None) -> None:
    """Who follows both already keeps one row with the reasons of both, for as long as the longer of them holds."""
    if other is None:
        moved.symbol = to
        moved.save(update_fields=["symbol"])
        return
    ends = (moved.expires_at, other.expires_at)
    other.expires_at = None if None in ends else max(e for e in ends if e)
    other.is_pinned, other.note = other.is_pinned or moved.is_pinned, other.note or moved.note
    other.set_reasons({*other.reasons, *moved.reasons})
    other.save()
    moved.delete()


def _by_terms(symbols: Iterable[ExchangeSymbol]) -> dict[_Terms, list[str]]:
    found: dict[_Terms, list[str]] = {}
    for symbol in symbols:
        if symbol.tick is not None and symbol.lot is not None:
            found.setdefault((symbol.quote, symbol.tick, symbol.lot), []).append(symbol.native)
    return found
