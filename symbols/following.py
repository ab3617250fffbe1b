"""Symbols that a person adds by hand: found as written, followed until forgotten, streamed and charted at once."""

from __future__ import annotations

import logging
from datetime import timedelta
from functools import partial
from typing import Any

from django.db import transaction
from django.utils import timezone
from kombu.exceptions import OperationalError

from exchanges import control
from exchanges.lifecycle import IS_LIVE
from exchanges.observed import stream_state
from livermore.celery import app
from livermore.core.errors import InvalidInput, StoreUnavailable
from livermore.logs import event
from symbols import services
from symbols.choosing import named
from symbols.models import ExchangeSymbol, UserSymbolSubscription

log = logging.getLogger(__name__)

EXPIRES_DAYS = 30
"""What is not pinned is followed for so long after it was last asked for."""
LONGEST_DAYS = 365
NOTICED_WITHIN_S = 30


def add(
    user: Any, exchange: str, text: str, *, days: int = EXPIRES_DAYS, is_pinned: bool = False, note: str = ""
) -> UserSymbolSubscription:
    """Follow a symbol by hand, for so many days or, pinned, for ever; asked for again, the time begins anew.

    Where the exchange streams, its host is told at once and the history that a chart needs is fetched before
    anything else. Raises `UnknownSymbol`, and `InvalidInput` for one that does not trade and for other days.
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
        transaction.on_commit(partial(_begin, symbol, user.get_username()))
    return row


def _begin(symbol: ExchangeSymbol, by: str) -> None:
    """What is idle begins with the exchange's start: nothing contacts a venue before.

    Where nobody can be told now, the host finds the symbol by itself, as it does any change of Tier 1.
    """
    try:
        if stream_state(symbol.exchange_id).get("state") not in IS_LIVE:
            return
        control.send(symbol.exchange_id, control.Verb.RELOAD, issued_by=by, wait_s=NOTICED_WITHIN_S)
        # By name: this app knows nothing of candles. Not on the exchange's own queue, where a start has put hundreds.
        app.send_task(
            "candles.load_history",
            (symbol.exchange_id, symbol.name),
            {"is_awaited": True},
            queue="default",
            argsrepr=f"{symbol.exchange_id} {symbol.name}",
            retry=False,
        )
    except (StoreUnavailable, OperationalError, OSError) as error:
        event(log, "symbol.untold", logging.WARNING, exchange=symbol.exchange_id, symbol=symbol.name, error=error)
