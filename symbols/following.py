"""Symbols that a person adds by hand: found as written, and followed for a while or for good."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from livermore.core.errors import InvalidInput
from symbols import services
from symbols.choosing import named
from symbols.models import UserSymbolSubscription

EXPIRES_DAYS = 30
"""What is not pinned is followed for so long after it was last asked for."""
LONGEST_DAYS = 365


def add(
    user: Any, exchange: str, text: str, *, days: int = EXPIRES_DAYS, is_pinned: bool = False, note: str = ""
) -> UserSymbolSubscription:
    """Follow a symbol by hand, for so many days or, pinned, for ever; asked for again, the time begins anew.

    `tasks.begin` then has it streamed and charted. Raises `UnknownSymbol`, and `InvalidInput` for one that does not
    trade and for other days.
    """
    if not 1 <= days <= LONGEST_DAYS:
        raise InvalidInput(f"{days} days cannot be; accepted: 1 to {LONGEST_DAYS}, or pinned")
    symbol = named(exchange, text)
    if not symbol.is_trading:
        raise InvalidInput(f"{symbol.name} does not trade at {exchange} now; its history can be read without following")
    with transaction.atomic():
        expires_at = None if is_pinned else timezone.now() + timedelta(days=days)
        row = services.follow(user, symbol, "manual", expires_at=expires_at)
        row.is_pinned = row.is_pinned or is_pinned
        row.note = note or row.note
        row.save(update_fields=["is_pinned", "note"])
    return row
