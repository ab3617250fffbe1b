"""Rebrands: the history of a symbol that ended goes over to the one that goes on for it, after proof by prices."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.db import connection
from django.db.models import QuerySet

from candles import window
from candles.models import Candle as CandleRow
from candles.services import history
from candles.services.indicators import Series
from candles.services.larger import larger
from candles.services.record import Closed, record
from exchanges.services import rest
from livermore.core.candle import BASE_TIMEFRAME, BUCKET_MS, Kline, Quality, Timeframe
from livermore.core.errors import InvalidInput
from livermore.logs import event
from symbols import renames
from symbols.models import ExchangeSymbol

log = logging.getLogger(__name__)

NEAR = Decimal("0.05")
"""So far apart may the last price of the one and the first of the other be, as a part of the former."""
BEFORE_BARS = 12
"""In so many bars before the old symbol's end the new one must not have traded."""
AFTER_BARS = 200
WAIT_S, WAITS = 50, 72
"""What is too early is tried again for an hour; a countdown must stay below what `livermore.E003` allows."""
CLOSED_MS = 120_000
"""So long after a bucket's end its candle is waited for."""

# What the old name left to be compared or mended must not be compared with the klines of the new one, which has none
# of that time; what was found out stays.
_AS_COMPARED = {
    "checked_ms": "CASE WHEN recorded_ms > checked_ms THEN recorded_ms ELSE checked_ms END",
    "differs": "CASE WHEN differs > 0 THEN 0 ELSE differs END",
}


@dataclass(frozen=True, slots=True)
class HandedOver:
    """What came of it: candles copied, and the series whose indicators must be computed anew.

    `refusal` says why nothing was handed over; `is_early` that this may change with a little time.
    """

    refusal: str = ""
    is_early: bool = False
    copied: int = 0
    series: list[Series] = field(default_factory=list)


def hand_over(exchange: str, old_native: str, new_native: str, *, is_certain: bool = False) -> HandedOver:
    """Let one symbol go on for another: rows are linked, tier and followers go over, candles are copied.

    What the new symbol has of its own stays. Without certainty there must be proof: its first trade comes after the
    old one's last and near its price. Repeating is harmless. Raises `InvalidInput` for unknown symbols, and what the
    venue's REST raises (`Transient`: try again).
    """
    old, new = _row(exchange, old_native), _row(exchange, new_native)
    newest = _base(old).exclude(quality=str(Quality.EMPTY)).order_by("-open_ms").first()
    first = _first_trade(new, newest) if newest is not None else None
    refusal = "" if is_certain else _refusal(newest, first)
    is_early = newest is not None and first is None
    if not refusal and newest is not None and first is not None and _still_closes(old, first.open_ms):
        refusal, is_early = "the old symbol's last candle is not closed yet", True
    told: dict[str, Any] = {"exchange": exchange, "old": old_native, "new": new_native}
    if refusal:
        event(log, "rename.unproven", logging.INFO if is_early else logging.WARNING, **told, why=refusal)
        return HandedOver(refusal, is_early)
    renames.link(old, new)
    copied = 0
    if newest is not None:
        is_joined = first is not None and first.open_ms >= newest.open_ms
        copied = _join(old, new, first.open_ms if first is not None and is_joined else newest.open_ms + BUCKET_MS)
    event(log, "rename.linked", **told, candles=copied)
    return HandedOver(copied=copied, series=[(exchange, new.name, name) for name in new.exchange.timeframes])


def _join(old: ExchangeSymbol, new: ExchangeSymbol, joint_ms: int) -> int:
    """All that ended by the joint from the old symbol, the rest from the new one; how many candles were copied.

    The bucket in which both traded is the new one's, as its venue tells it; the old one's candle, of which the venue
    tells nothing any more, might outrank that.
    """
    exchange, name = new.exchange_id, new.name
    timeframes = [Timeframe(one) for one in new.exchange.timeframes]
    copied = sum(_copy(old, new, timeframe, joint_ms) for timeframe in timeframes)
    if (before := _base(new).filter(open_ms__lt=joint_ms).order_by("-open_ms").first()) is not None:
        # Between the end of the one and the first trade of the other nothing was traded.
        last = Kline(before.open_ms, before.open, before.high, before.low, before.close, before.volume)
        flat = history.fill(exchange, name, BASE_TIMEFRAME, [last], joint_ms, omits=True)[1:]
        record([Closed(candle, 0) for candle in flat], tell=False)
    for timeframe in timeframes:
        _restore(new, timeframe)
    history.load(exchange, name)
    # The venue's larger klines around the joint hold the new symbol's part only.
    record(larger(window.between(exchange, name, BASE_TIMEFRAME, joint_ms, joint_ms + 1)))
    return copied


def _row(exchange: str, native: str) -> ExchangeSymbol:
    found = ExchangeSymbol.objects.select_related("exchange").filter(exchange_id=exchange, native=native).first()
    if found is None:
        raise InvalidInput(f"{exchange} has no symbol {native!r}")
    return found


def _base(symbol: ExchangeSymbol) -> QuerySet[CandleRow]:
    return CandleRow.objects.filter(symbol=symbol, timeframe=str(BASE_TIMEFRAME))


def _still_closes(old: ExchangeSymbol, joint_ms: int) -> bool:
    """May the old symbol's candle before the joint still come?"""
    is_fresh = time.time_ns() // 1_000_000 < joint_ms + CLOSED_MS
    return is_fresh and not _base(old).filter(open_ms=joint_ms - BUCKET_MS).exists()


def _first_trade(symbol: ExchangeSymbol, newest: CandleRow) -> Kline | None:
    """The oldest kline with trades that begins an hour before the old symbol's end, or later."""
    from_ms = newest.open_ms - BEFORE_BARS * BUCKET_MS
    to_ms = min(time.time_ns() // 1_000_000, newest.open_ms + AFTER_BARS * BUCKET_MS)
    klines = rest(symbol.exchange_id).klines(symbol.native, BASE_TIMEFRAME, from_ms, to_ms)
    return min((k for k in klines if k.volume > 0), key=lambda k: k.open_ms, default=None)


def _refusal(newest: CandleRow | None, first: Kline | None) -> str:
    """Why these two do not prove a rename; nothing where they do."""
    if newest is None:
        return "no candle of the old symbol is stored"
    if first is None:
        return "the new symbol has not traded yet"
    if first.open_ms < newest.open_ms:
        return "the new symbol traded before the old one ended"
    if abs(first.open - newest.close) > NEAR * newest.close:
        return f"the new symbol began at {first.open:f}, the old one ended at {newest.close:f}"
    return ""


def _copy(old: ExchangeSymbol, new: ExchangeSymbol, timeframe: Timeframe, joint_ms: int) -> int:
    """Candles that ended by the joint, where the new symbol has none; how many that were."""
    own = [f.column for f in CandleRow._meta.concrete_fields if f.column not in ("id", "symbol_id")]
    values = [_AS_COMPARED.get(name, name) for name in own]
    # The names are those of the model, every value is a parameter.
    statement = (
        f"INSERT INTO candles (symbol_id, {', '.join(own)}) "  # noqa: S608
        f"SELECT %s, {', '.join(values)} FROM candles WHERE symbol_id = %s AND timeframe = %s AND open_ms <= %s "
        "ON CONFLICT (symbol_id, timeframe, open_ms) DO NOTHING"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [new.pk, old.pk, str(timeframe), joint_ms - timeframe.ms])
        return int(cursor.rowcount)


def _restore(symbol: ExchangeSymbol, timeframe: Timeframe) -> None:
    """The newest candles of the table into the hot window."""
    rows: Sequence[CandleRow] = CandleRow.objects.filter(symbol=symbol, timeframe=str(timeframe)).order_by("-open_ms")
    window.restore(row.value(symbol.exchange_id, symbol.name) for row in rows[: window.KEPT])
