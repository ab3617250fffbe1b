"""Candles and signals as files: rows in a stable order, a piece at a time, however many there are."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from candles.models import Candle, Signal
from exchanges.models import Exchange
from livermore.core.candle import Timeframe
from livermore.core.errors import InvalidInput
from livermore.core.exact import plain
from symbols.models import ExchangeSymbol

ROWS_AT_ONCE = 2_000
ROWS_IN_A_GROUP = 50_000
"""Of Parquet: a group is held in memory until it is written."""

Row = tuple[Any, ...]


class _Pipe(io.RawIOBase):
    """Takes what is written and gives it away; its position counts on, as Parquet's offsets need."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []
        self._at = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        self._at += len(piece)
        return len(piece)

    def take(self) -> bytes:
        """What was written since the last time."""
        taken, self._pieces = b"".join(self._pieces), []
        return taken


@dataclass(frozen=True, slots=True)
class Table:
    """What is exported: named columns with their types, the rows, and what its readers are told of it."""

    name: str
    columns: Sequence[tuple[str, pa.DataType]]
    rows: Iterable[Row]
    notice: str


_TEXT, _INT, _BOOL = pa.string(), pa.int64(), pa.bool_()
_DECIMALS = ("open", "high", "low", "close", "volume", "turnover", "taker_buy_volume")
_CANDLE = (
    ("exchange", _TEXT), ("symbol", _TEXT), ("timeframe", _TEXT), ("open_time", _INT), ("open_time_iso", _TEXT),
    *((name, _TEXT) for name in _DECIMALS),
    ("trades", _INT), ("revision", _INT), ("source", _TEXT), ("quality", _TEXT), ("synthetic", _BOOL),
    ("reason", _TEXT),
    ("recorded_ms", _INT), ("compared_ms", _INT), ("differs", _BOOL),
)  # fmt: skip
_SIGNAL = (
    ("event_id", _TEXT), ("kind", _TEXT), ("base", _TEXT), ("direction", _TEXT), ("leader", _TEXT),
    ("follower", _TEXT), ("opened_ms", _INT), ("opened_iso", _TEXT), ("closed_ms", _INT), ("outcome", _TEXT),
    ("event", _TEXT),
)  # fmt: skip


def candles(
    symbols: Sequence[ExchangeSymbol], timeframes: Sequence[Timeframe], from_ms: int = 0, to_ms: int = 1 << 62
) -> Table:
    """Closed candles with `from_ms <= open < to_ms`, by exchange, symbol, timeframe and time.

    Decimals are texts, as everywhere: no type of Parquet holds all of them exactly.
    """
    ordered = sorted(symbols, key=lambda symbol: (symbol.exchange_id, symbol.name, symbol.native))

    def rows() -> Iterator[Row]:
        for symbol in ordered:
            for timeframe in timeframes:
                found = Candle.objects.filter(
                    symbol=symbol, timeframe=str(timeframe), open_ms__gte=from_ms, open_ms__lt=to_ms
                )
                for row in found.order_by("open_ms").iterator(ROWS_AT_ONCE):
                    yield _candle(symbol, row)

    return Table("candles", _CANDLE, rows(), _notice({symbol.exchange_id for symbol in symbols}))


def signals(base: str = "", from_ms: int = 0, to_ms: int = 1 << 62) -> Table:
    """Signals that opened in `[from_ms, to_ms)`, oldest first, each with its newest event as JSON."""
    found = Signal.objects.filter(opened_ms__gte=from_ms, opened_ms__lt=to_ms)
    if base:
        found = found.filter(base=base.upper())
    rows = (
        (
            str(row.event_id), row.kind, row.base, row.direction, row.leader_id, row.follower_id, row.opened_ms,
            _iso(row.opened_ms), row.closed_ms, row.outcome or None, json.dumps(row.event, separators=(",", ":")),
        )
        for row in found.order_by("opened_ms", "event_id").iterator(ROWS_AT_ONCE)
    )  # fmt: skip
    return Table("signals", _SIGNAL, rows, _notice(None))


def as_csv(table: Table) -> Iterator[bytes]:
    """A head line, then rows; what is not known is empty."""
    yield _lines([[name for name, _ in table.columns]])
    rows = iter(table.rows)
    while some := list(islice(rows, ROWS_AT_ONCE)):
        yield _lines([["" if v is None else str(v).lower() if isinstance(v, bool) else v for v in row] for row in some])


def as_parquet(table: Table) -> Iterator[bytes]:
    """Parquet with zstd; the notice stands in the metadata of its schema."""
    schema = pa.schema(list(table.columns), metadata={"livermore.notice": table.notice})
    pipe, rows = _Pipe(), iter(table.rows)
    with pq.ParquetWriter(pipe, schema, compression="zstd") as writer:
        while some := list(islice(rows, ROWS_IN_A_GROUP)):
            columns = zip(zip(*some, strict=True), table.columns, strict=True)
            writer.write_table(pa.table([pa.array(values, kind) for values, (_, kind) in columns], schema=schema))
            yield pipe.take()
    yield pipe.take()


FORMATS: dict[str, Callable[[Table], Iterator[bytes]]] = {"csv": as_csv, "parquet": as_parquet}
"""Each in the order of its bytes."""


def in_format(table: Table, name: str) -> Iterator[bytes]:
    """The bytes of a table; raises `InvalidInput` for a format that does not exist."""
    if name not in FORMATS:
        raise InvalidInput(f"format {name!r} does not exist; accepted: {' '.join(FORMATS)}")
    return FORMATS[name](table)


def _candle(symbol: ExchangeSymbol, row: Candle) -> Row:
    decimals = (getattr(row, name) for name in _DECIMALS)
    return (
        symbol.exchange_id, symbol.name, row.timeframe, row.open_ms, _iso(row.open_ms),
        *(None if value is None else plain(value) for value in decimals),
        row.trades, row.revision, row.source, row.quality, bool(row.reason), row.reason or None,
        row.recorded_ms, row.checked_ms or None, None if row.differs is None else row.differs > 0,
    )  # fmt: skip


def _notice(exchanges: set[str] | None) -> str:
    """Whose data these are, and under which terms."""
    rows = Exchange.objects.order_by("slug")
    rows = rows if exchanges is None else rows.filter(slug__in=exchanges)
    return "; ".join(f"{row.title}: {row.terms_url}" for row in rows if row.terms_url)


def _lines(rows: Iterable[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
