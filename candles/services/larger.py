"""Larger candles out of 5m ones: when the last part comes, and in the end also without one that never came."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from candles import window
from candles.fold import widen
from candles.models import Candle as Row
from candles.services.record import Closed
from candles.window import Span
from livermore.core.candle import BASE_TIMEFRAME, LARGER_TIMEFRAMES, Candle, Timeframe

OVERDUE_MS = 15 * 60_000
"""A part that has not come so long after the end is left out, and the candle says so."""

_Place = tuple[str, str, Timeframe, int]


def larger(changed: Iterable[Candle]) -> list[Closed]:
    """The larger candles that the changed 5m candles complete; never one with a part missing."""
    now_ms = _now_ms()
    wanted = sorted(
        {
            (c.exchange, c.symbol, timeframe, c.open_ms - c.open_ms % timeframe.ms)
            for c in changed
            if c.timeframe is BASE_TIMEFRAME
            for timeframe in LARGER_TIMEFRAMES
        }
    )
    over = [place for place in wanted if place[3] + place[2].ms <= now_ms]
    counts = window.counts([_parts(place) for place in over])
    whole = [place for place, count in zip(over, counts, strict=True) if count >= place[2].buckets]
    # A window that was lost lacks what the table has: seldom, so these may cost a query each.
    lacking = [place for place, count in zip(over, counts, strict=True) if count < place[2].buckets]
    stored = {place: parts for place in lacking if len(parts := _stored(place)) >= place[2].buckets}
    found = dict(zip(whole, window.spans([_parts(place) for place in whole]), strict=True))
    return [_closed(place, parts) for place, parts in sorted((found | stored).items())]


def overdue(exchange: str, symbol: str) -> list[Closed]:
    """The newest larger candles that ended a while ago and still lack parts, made of those that there are."""
    now_ms = _now_ms() - OVERDUE_MS
    ended: list[_Place] = [(exchange, symbol, t, now_ms // t.ms * t.ms - t.ms) for t in LARGER_TIMEFRAMES]
    there = window.counts([Span(*place, place[3] + 1) for place in ended])
    absent = [place for place, count in zip(ended, there, strict=True) if not count]
    return [_closed(place, parts) for place in absent if (parts := _stored(place))]


def _closed(place: _Place, parts: Sequence[Candle]) -> Closed:
    """A part's revision only ever rises, whereas adopting a kline may forget how many trades there were."""
    whole = widen(parts, place[2])
    return Closed(whole, (whole.parts or 0) + sum(part.revision for part in parts))


def _stored(place: _Place) -> list[Candle]:
    """The parts that the table has, oldest first."""
    exchange, symbol, timeframe, open_ms = place
    rows = Row.objects.of(exchange, symbol, str(BASE_TIMEFRAME)).filter(
        open_ms__gte=open_ms, open_ms__lt=open_ms + timeframe.ms
    )
    return [row.value(exchange, symbol) for row in rows.order_by("open_ms")]


def _parts(place: _Place) -> Span:
    exchange, symbol, timeframe, open_ms = place
    return Span(exchange, symbol, BASE_TIMEFRAME, open_ms, open_ms + timeframe.ms)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
