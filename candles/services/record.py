"""Candles into the database and the hot window: monotone, repeatable, in that order."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import connection, transaction

from candles import legacy, window
from candles.models import Candle as CandleRow
from exchanges import tally
from livermore.core.candle import BASE_TIMEFRAME, BUCKET_MS, Candle, Quality, Source
from livermore.core.exact import plain
from symbols.models import ExchangeSymbol

_CHUNK = 200

_QUALITY_RANK = {Quality.GAPPED: 0, Quality.PENDING: 1, Quality.EMPTY: 2, Quality.CLEAN: 3, Quality.PROVEN: 4}

_VERSION = ["source_rank", "evidence", "confirmed", "quality_rank", "repeated"]
_CONTENT = ["open", "high", "low", "close", "volume", "turnover", "taker_buy_volume", "trades"]
_KEY = ["symbol_id", "timeframe", "open_ms"]
_CHANGING = [*_CONTENT, "parts", "source", "quality", "reason", *_VERSION, "recorded_ms", "first_id", "last_id"]
_FIELDS = [*_KEY, *_CHANGING, "revision"]

_Key = tuple[int, str, int]


@dataclass(frozen=True, slots=True)
class Closed:
    """A candle and what orders its versions: executions it is made of, executions REST confirmed.

    `ids` are the first and the last of its trades, where the venue numbers them; `repeated` executions came from a
    stream more than once.
    """

    candle: Candle
    evidence: int
    confirmed: int = 0
    ids: tuple[int | None, int | None] = (None, None)
    repeated: int = 0


def record(closed: Sequence[Closed], *, tell: bool = True) -> list[Candle]:
    """Store candles, put them into the hot window and tell those that changed; returns each as it now stands.

    A version that says less than the stored one changes nothing, is not told, and the stored one is
    returned. Changed content raises `revision`. Repeating is harmless: what follows from the returned candles
    may be derived again, but only a change is told. In no order; candles of symbols that are not in the table
    are left out.
    """
    if not closed:
        return []
    ids = _symbol_ids({(c.candle.exchange, c.candle.symbol) for c in closed})
    rows = [_row(c, ids[name]) for c in closed if (name := (c.candle.exchange, c.candle.symbol)) in ids]
    changed: set[_Key] = set()
    standing: list[tuple[_Key, Candle]] = []
    # One transaction until the window is written and has told: a second writer of the same candle waits, so
    # that the window cannot end with an older version than the table; and a crash before the telling takes
    # the rows back, so that the repeat changes them again and tells.
    with transaction.atomic():
        for at in range(0, len(rows), _CHUNK):
            chunk = rows[at : at + _CHUNK]
            changed |= _upsert(chunk)
            standing += _standing(chunk, ids)
        told = [c for key, c in standing if key in changed and tell]
        untold = [c for key, c in standing if key not in changed or not tell]
        for keep in (window.put, legacy.mirror):
            keep(untold, tell=False)
            keep(told, tell=True)
    _count([c for key, c in standing if key in changed])
    return [candle for _, candle in standing]


def _count(changed: Iterable[Candle]) -> None:
    now_ms = time.time_ns() // 1_000_000
    for c in changed:
        tally.add(tally.CANDLES, c.exchange, str(c.timeframe), str(c.quality))
        if c.timeframe is BASE_TIMEFRAME and c.revision == 0 and c.source is Source.TRADES:
            tally.observe(tally.CLOSE_DELAY, c.exchange, value=max(0, now_ms - c.open_ms - BUCKET_MS) / 1000)


def _row(closed: Closed, symbol_id: int) -> list[Any]:
    c = closed.candle
    return [
        symbol_id, str(c.timeframe), c.open_ms, _stored(c.open), _stored(c.high), _stored(c.low), _stored(c.close),
        _stored(c.volume), _stored(c.turnover), _stored(c.taker_buy_volume), c.trades, c.parts, str(c.source),
        str(c.quality), str(c.reason or ""), _source_rank(c), closed.evidence, closed.confirmed,
        _QUALITY_RANK[c.quality], closed.repeated, time.time_ns() // 1_000_000, *closed.ids, c.revision,
    ]  # fmt: skip


def _source_rank(candle: Candle) -> int:
    """How far a source is trusted: what we folded with gaps gives way to the venue's own candle."""
    if candle.source is Source.ADOPTED:
        return 3
    if candle.source is Source.REST:
        return 0 if candle.is_synthetic else 1
    return 0 if candle.quality is Quality.GAPPED else 2


def _stored(number: Decimal | None) -> Any:
    if number is None or connection.vendor == "postgresql":
        return number
    return plain(number)


def _upsert(rows: list[list[Any]]) -> set[_Key]:
    """Write the rows that say more than the stored ones; the keys of those written."""
    one = f"({', '.join(['%s'] * len(_FIELDS))})"
    same = " AND ".join(
        # IS NOT DISTINCT FROM, for SQLite before 3.39.
        f"(candles.{name} = excluded.{name} OR (candles.{name} IS NULL AND excluded.{name} IS NULL))"
        for name in _CONTENT
    )
    # Made of more parts is another content; made of parts or not is none.
    same += " AND COALESCE(candles.parts, excluded.parts, 0) = COALESCE(excluded.parts, candles.parts, 0)"
    updates = ", ".join(f"{name} = excluded.{name}" for name in _CHANGING)
    new, old = (", ".join(f"{table}.{name}" for name in _VERSION) for table in ("excluded", "candles"))
    # The names are constants of this module; every value is a parameter.
    statement = (
        f"INSERT INTO candles ({', '.join(_FIELDS)}) VALUES {', '.join([one] * len(rows))} "  # noqa: S608
        f"ON CONFLICT (symbol_id, timeframe, open_ms) DO UPDATE SET {updates}, "
        f"revision = CASE WHEN {same} THEN candles.revision ELSE candles.revision + 1 END "
        # A flat candle has no evidence of its own: it follows the close before it.
        f"WHERE ({new}) > ({old}) OR (candles.reason <> '' AND candles.reason = excluded.reason "
        f"AND ({new}) = ({old}) AND NOT ({same})) RETURNING {', '.join(_KEY)}"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [value for row in rows for value in row])
        return set(cursor.fetchall())


def _symbol_ids(names: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
    wanted = set(names)
    exchanges = {exchange for exchange, _ in wanted}
    found = ExchangeSymbol.objects.filter(
        exchange_id__in=exchanges, name__in={name for _, name in wanted}
    ).order_by("is_trading")
    return {
        (symbol.exchange_id, symbol.name): symbol.pk for symbol in found if (symbol.exchange_id, symbol.name) in wanted
    }


def _standing(rows: list[list[Any]], ids: dict[tuple[str, str], int]) -> list[tuple[_Key, Candle]]:
    """The stored rows, which may be newer than what was just written; found by key, however far apart."""
    names = {pk: name for name, pk in ids.items()}
    columns = ", ".join(f"candles.{name}" for name in ["id", *_FIELDS])
    statement = (
        f"WITH wanted (symbol_id, timeframe, open_ms) AS (VALUES {', '.join(['(%s, %s, %s)'] * len(rows))}) "  # noqa: S608
        f"SELECT {columns} FROM wanted JOIN candles ON candles.symbol_id = wanted.symbol_id "
        "AND candles.timeframe = wanted.timeframe AND candles.open_ms = wanted.open_ms"
    )
    found = CandleRow.objects.raw(statement, [value for row in rows for value in row[: len(_KEY)]])
    return [((row.symbol_id, row.timeframe, row.open_ms), row.value(*names[row.symbol_id])) for row in found]
