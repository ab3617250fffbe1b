"""How long candles, signals and alerts are kept: old ones leave in portions that no writer has to wait for."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.db.models import Exists, OuterRef, QuerySet

from candles.models import Alert as AlertRow
from candles.models import Candle as CandleRow
from candles.models import Signal as SignalRow
from livermore.core.candle import Timeframe
from livermore.core.errors import InvalidInput
from livermore.logs import event
from symbols.models import ExchangeSymbol

log = logging.getLogger(__name__)

CHUNK = 5_000
MOST = 100_000
"""So many rows a call: well within a task's time limit. Who gets as many back calls again."""
LEAST_DAYS = 7
"""Below this, gaps would be repaired and candles reconciled that are about to go."""
_DAY_MS = 86_400_000


def kept_days() -> Mapping[Timeframe, int]:
    """What CANDLE_DAYS says. Raises `InvalidInput` for what it may not say."""
    said = settings.CANDLE_DAYS
    if not isinstance(said, dict) or any(type(days) is not int or days < LEAST_DAYS for days in said.values()):
        raise InvalidInput(
            f'CANDLE_DAYS must be JSON such as {{"5m": 400}}, whole days from {LEAST_DAYS} on; it is {said!r}'
        )
    try:
        return {Timeframe.parse(name): days for name, days in said.items()}
    except InvalidInput as error:
        raise InvalidInput(f"CANDLE_DAYS: {error}") from None


def retire(now_ms: int) -> int:
    """Delete candles, closed signals and alerts older than they are kept, `MOST` at a time; how many that were.

    The hot window is left alone: it holds the newest, however old these are.
    """
    left = MOST
    for timeframe, days in kept_days().items():
        before_ms = now_ms - days * _DAY_MS
        old = CandleRow.objects.filter(timeframe=str(timeframe), open_ms__lt=before_ms)
        # By symbol, because the one index that tells ages begins with it.
        concerned = ExchangeSymbol.objects.filter(Exists(old.filter(symbol=OuterRef("pk"))))
        for symbol_id in list(concerned.order_by().values_list("pk", flat=True)):
            of_symbol = old.filter(symbol_id=symbol_id).order_by("open_ms")
            while left > 0 and (gone := _delete(of_symbol, min(CHUNK, left))):
                left -= gone
    before_ms = now_ms - settings.SIGNAL_DAYS * _DAY_MS
    ended = SignalRow.objects.filter(closed_ms__isnull=False, opened_ms__lt=before_ms).order_by("opened_ms")
    for rows in (ended, AlertRow.objects.filter(raised_ms__lt=before_ms).order_by("pk")):
        while left > 0 and (gone := _delete(rows, min(CHUNK, left))):
            left -= gone
    if left < MOST:
        event(log, "candles.retired", rows=MOST - left)
    return MOST - left


def _delete(rows: QuerySet[Any], most: int) -> int:
    """The oldest of these rows in a transaction of their own."""
    return int(rows.model.objects.filter(pk__in=rows.values("pk")[:most]).delete()[0])
