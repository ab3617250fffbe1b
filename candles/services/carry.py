"""Flat candles carry the last close: when that is revised, so are they."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from candles import window
from candles.services.record import Closed, record
from candles.window import Span
from livermore.core.candle import BASE_TIMEFRAME, BUCKET_MS, Candle, Source

LONGEST = 288
"""So many flat candles in a row are looked at: a day."""


def carry(changed: Iterable[Candle]) -> list[Candle]:
    """Record the flat 5m candles that follow these at another price; returns them as they now stand."""
    fives = [candle for candle in changed if candle.timeframe is BASE_TIMEFRAME]
    nexts = window.spans([_after(candle, 1) for candle in fives])
    standing: list[Candle] = []
    for candle, following in zip(fives, nexts, strict=True):
        if following and _is_other(following[0], candle):
            standing += record([Closed(flat, 0) for flat in _flats(candle)])
    return standing


def _flats(candle: Candle) -> list[Candle]:
    """The run of flat candles behind it, at its close."""
    flats = []
    for following in window.spans([_after(candle, LONGEST)])[0]:
        if not _is_other(following, candle) or following.open_ms != candle.open_ms + (len(flats) + 1) * BUCKET_MS:
            break
        price = candle.close
        flats.append(replace(following, open=price, high=price, low=price, close=price))
    return flats


def _after(candle: Candle, count: int) -> Span:
    start_ms = candle.open_ms + BUCKET_MS
    return Span(candle.exchange, candle.symbol, BASE_TIMEFRAME, start_ms, start_ms + count * BUCKET_MS)


def _is_other(following: Candle, candle: Candle) -> bool:
    """Flat at another price, and not history, whose prices are the venue's."""
    return following.is_synthetic and following.source is not Source.REST and following.close != candle.close
