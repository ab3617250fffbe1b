"""The hot window from the database, after the state Redis was emptied: bulk reads and writes, no venue."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from itertools import chain
from typing import Any

from django.db.models import Exists, OuterRef

from candles import window
from candles.models import Candle as CandleRow
from exchanges import registry
from exchanges.models import Exchange
from livermore.core.candle import Candle, Quality, Reason, Source, Timeframe
from livermore.core.keys import CandleKey
from livermore.logs import event
from symbols.models import ExchangeSymbol

log = logging.getLogger(__name__)

_COLUMNS = [one.name for one in fields(Candle)][3:]
"""Those of `Candle` after exchange, symbol and timeframe, in its order."""
_SOURCE = _COLUMNS.index("source")  # then come quality and reason


@dataclass(slots=True)
class Rebuilt:
    """What came of it: series that the table has, their candles, and how many of those the window lacked."""

    total: int = 0
    series: list[tuple[str, str, str]] = field(default_factory=list)
    candles: int = 0
    restored: int = 0


def is_lost(exchange: str) -> bool:
    """Does the window hold nothing of a streamed series that the table has? Cheap enough for every minute.

    It asks for each series, because what closes after a loss soon makes the 5m ones look alive.
    """
    symbols = _streamed(exchange)
    absent = window.absent([key for symbol in symbols for key in _keys(symbol)])
    lacking: dict[str, set[str]] = {}
    for key in absent:
        lacking.setdefault(key.timeframe, set()).add(key.symbol)
    of_symbol = CandleRow.objects.filter(symbol=OuterRef("pk"))
    return any(
        ExchangeSymbol.objects.filter(pk__in=[s.pk for s in symbols if s.name in names])
        .filter(Exists(of_symbol.filter(timeframe=timeframe)))
        .exists()
        for timeframe, names in lacking.items()
    )


def rebuild(exchanges: Iterable[str] = (), told: Callable[[Rebuilt], None] = lambda _: None) -> Rebuilt:
    """Put the newest candles of every streamed series back, those of the busiest symbols first.

    Of all enabled exchanges where none is named. What the window has and is as new stays; nobody is told of what
    comes back. `told` hears after each symbol how far it has come. Repeating is harmless.
    """
    began = time.monotonic()
    done = Rebuilt()
    symbols = [symbol for exchange in list(exchanges) or _usable() for symbol in _streamed(exchange)]
    symbols.sort(key=lambda symbol: symbol.rank or 1 << 31)
    done.total = sum(len(_keys(symbol)) for symbol in symbols)
    for symbol in symbols:
        series = {key: _stored(symbol, key) for key in _keys(symbol)}
        found = {key: candles for key, candles in series.items() if candles}
        done.restored += window.restore(candle for candles in found.values() for candle in candles)
        done.candles += sum(map(len, found.values()))
        done.series += [(key.exchange, key.symbol, key.timeframe) for key in found]
        done.total -= len(series) - len(found)
        told(done)
    spent_s = round(time.monotonic() - began, 1)
    event(log, "window.rebuilt", series=len(done.series), candles=done.candles, restored=done.restored, seconds=spent_s)
    return done


def _stored(symbol: ExchangeSymbol, key: CandleKey) -> list[Candle]:
    """Without a model instance for each row, which would take longer than all the rest."""
    timeframe = Timeframe(key.timeframe)
    stored = CandleRow.objects.filter(symbol_id=symbol.pk, timeframe=key.timeframe).order_by("-open_ms")
    rows = stored.values_list(*_COLUMNS)[: window.KEPT]
    return [Candle(key.exchange, key.symbol, timeframe, *_values(row)) for row in rows]


def _values(row: tuple[Any, ...]) -> Iterator[Any]:
    source, quality, reason = row[_SOURCE : _SOURCE + 3]
    judged = Source(source), Quality(quality), Reason(reason) if reason else None
    return chain(row[:_SOURCE], judged, row[_SOURCE + 3 :])


def _streamed(exchange: str) -> Sequence[ExchangeSymbol]:
    return list(ExchangeSymbol.objects.filter(exchange_id=exchange).streamed().select_related("exchange"))


def _keys(symbol: ExchangeSymbol) -> list[CandleKey]:
    return [CandleKey(symbol.exchange_id, symbol.name, timeframe) for timeframe in symbol.exchange.timeframes]


def _usable() -> list[str]:
    return list(Exchange.objects.filter(enabled=True, pk__in=registry.slugs()).values_list("pk", flat=True))
