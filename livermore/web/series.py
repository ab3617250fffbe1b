"""Series for charts and programs: closed candles from the hot window, older ones from the database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from candles import compare, legacy, window
from candles.indicators.bars import Bars
from candles.indicators.indicator import Indicator
from candles.models import Candle as StoredCandle
from exchanges.state import state_redis
from livermore.core import keys
from livermore.core.candle import BASE_TIMEFRAME, Candle, Timeframe
from livermore.web.observed import now_ms
from livermore.web.state import texts
from symbols.models import ExchangeSymbol

FOREVER_MS = 2**53
DEFAULT_LIMIT = 200
MOST = 5_000


@dataclass(frozen=True, slots=True)
class Series:
    """Closed candles, oldest first, and how many of them came from where; `window` is `shared` and `overflow`."""

    candles: Sequence[Candle]
    sources: Mapping[str, int]


def read(
    market: ExchangeSymbol,
    timeframe: Timeframe,
    *,
    limit: int = DEFAULT_LIMIT,
    from_ms: int | None = None,
    to_ms: int | None = None,
    user: int | None = None,
) -> Series:
    """The newest `limit` closed candles whose open lies in `[from_ms, to_ms)`, as far as this user may see them.

    Bar by bar the shared window wins and the user's own overflow fills; the database fills what both lack, and a
    candle that is in a window too is taken in the higher revision. Until the exchange is cut over, the user's own
    keys of the predecessor fill the rest.
    """
    series = (market.exchange_id, market.name, timeframe)
    span = None if from_ms is None and to_ms is None else (from_ms or 0, FOREVER_MS if to_ms is None else to_ms)
    in_windows, shared = window.merged(*series, user, span, limit)
    found = {c.open_ms: c for c in in_windows}
    came = {ms: "shared" if ms in shared else "overflow" for ms in found}
    if len(found) < limit and not _reaches(found, from_ms):
        for candle in _stored(market, timeframe, limit, from_ms, to_ms):
            held = found.get(candle.open_ms)
            if held is None or held.revision < candle.revision:
                found[candle.open_ms] = candle
    came = dict.fromkeys(found, "database") | came
    if user is not None and len(found) < limit and not _reaches(found, from_ms):
        taken = legacy.read(market.exchange_id, (market.name, market.native), timeframe, user, span, limit)
        found = {c.open_ms: c for c in taken} | found
    newest = [found[ms] for ms in sorted(found)[-limit:]]
    counts = Counter(came.get(c.open_ms, "legacy") for c in newest)
    sources = {name: counts[name] for name in ("shared", "overflow", "database", "legacy")}
    return Series(newest, {"window": counts["shared"] + counts["overflow"]} | sources)


def forming(market: ExchangeSymbol, timeframe: Timeframe) -> dict[str, Any] | None:
    """The forming candle, a preview with its own age; None when nothing trades."""
    said = texts(state_redis().hgetall(keys.forming(market.exchange_id, market.name, timeframe)))
    if not said or "open_time" not in said:
        return None
    updated_ms = int(said.get("updated_ms") or said["open_time"])
    return {
        "open_time": int(said["open_time"]),
        **{name: said.get(name) for name in ("open", "high", "low", "close", "volume", "turnover")},
        "trades": int(said["trades"]) if said.get("trades") else None,
        "final": False,
        "updated_ms": updated_ms,
        "age_ms": max(0, now_ms() - updated_ms),
    }


def public(candle: Candle, now: int) -> dict[str, Any]:
    """A closed candle as in contract §4, with its age: how long ago it ended."""
    return candle.public() | {"age_ms": max(0, now - candle.open_ms - candle.timeframe.ms)}


def provenance(market: ExchangeSymbol, timeframe: Timeframe, candles: Sequence[Candle]) -> dict[int, dict[str, Any]]:
    """By open: what stands behind these closed candles, as the table says (`candles.models.Candle`)."""
    if not candles:
        return {}
    rows = StoredCandle.objects.filter(
        symbol=market, timeframe=timeframe, open_ms__range=(candles[0].open_ms, candles[-1].open_ms)
    )
    return {
        row.open_ms: {
            "executions": row.evidence if row.timeframe == BASE_TIMEFRAME else None,
            "confirmed": row.confirmed,
            "first_id": row.first_id,
            "last_id": row.last_id,
            "recorded_ms": row.recorded_ms,
            "compared_ms": row.checked_ms or None,
            "differed": compare.names(row.differed),
            "differs": compare.names(row.differs),
        }
        for row in rows
    }


def indicator_rows(
    market: ExchangeSymbol, timeframe: Timeframe, chosen: Indicator, limit: int, user: int | None = None
) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """Chart rows of an indicator, oldest first, and its latest value.

    Computed from the same candles the chart shows, plus what the formula needs to have converged.
    """
    candles = read(market, timeframe, limit=min(limit + chosen.load_bars, MOST), user=user).candles
    if not candles:
        return [], None
    bars = Bars.from_candles(candles)
    names = ("open_time", *chosen.columns)
    rows = [dict(zip(names, row, strict=True)) for row in chosen.series(bars)[-limit:]]
    return rows, chosen.latest(bars).payload()


def _stored(
    market: ExchangeSymbol, timeframe: Timeframe, limit: int, from_ms: int | None, to_ms: int | None
) -> list[Candle]:
    rows = StoredCandle.objects.filter(symbol=market, timeframe=timeframe).order_by("-open_ms")
    if from_ms is not None:
        rows = rows.filter(open_ms__gte=from_ms)
    if to_ms is not None:
        rows = rows.filter(open_ms__lt=to_ms)
    return [row.value(market.exchange_id, market.name) for row in rows[:limit]]


def _reaches(found: dict[int, Candle], from_ms: int | None) -> bool:
    """Does the window already hold the oldest candle asked for?"""
    return from_ms is not None and from_ms in found
