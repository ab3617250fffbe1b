"""What a candle is made of: its row, its parts or its batches of trades, its gaps, its comparison."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from candles import compare, ledger, slab
from candles.fold import REST_FIELD, fold
from candles.ledger import Bucket
from candles.models import Candle as Row
from candles.models import Gap, Mismatch
from candles.slab import Slab
from exchanges import registry
from exchanges.recorded import Recording
from livermore.core.candle import BASE_TIMEFRAME, Candle, Timeframe
from livermore.core.errors import InvalidInput
from symbols import services as symbols
from symbols.models import ExchangeSymbol


@dataclass(frozen=True, slots=True)
class Batch:
    """The trades that one batch, or one answer of the venue's REST, brought for a bucket."""

    name: str
    is_rest: bool
    received_ns: int
    trades: int
    executions: int
    first_ns: int
    last_ns: int
    volume: Decimal


@dataclass(frozen=True, slots=True)
class Frame:
    """A recorded frame that carries trades of the candle; `number` counts the recording's frames from 0."""

    number: int
    connection: str
    received_ns: int
    trades: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """`batches` are gone half an hour after the bucket; `is_refolded` tells that they make this candle still.

    `parts` are the 5m candles of a larger one. `differed` and `differs` name fields, as in `Score`.
    """

    row: Row
    candle: Candle
    batches: list[Batch]
    is_refolded: bool | None
    parts: list[Candle]
    gaps: list[Gap]
    case: Mismatch | None
    differed: list[str] | None
    differs: list[str] | None


def explain(symbol: ExchangeSymbol, timeframe: Timeframe, open_ms: int) -> Explanation:
    """Everything that is known of a stored candle. Raises `InvalidInput` where there is none."""
    row = Row.objects.filter(symbol=symbol, timeframe=str(timeframe), open_ms=open_ms).first()
    if row is None:
        raise InvalidInput(f"{symbol.exchange_id} has no {timeframe} candle of {symbol.name} at {open_ms}")
    candle = row.value(symbol.exchange_id, symbol.name)
    end_ms = open_ms + timeframe.ms
    slabs: dict[str, Slab] = {}
    parts: list[Candle] = []
    if timeframe is BASE_TIMEFRAME:
        (stored,) = ledger.slabs(symbol.exchange_id, [Bucket(symbol.name, open_ms)])
        slabs = {name: columns for name, columns in stored.items() if columns is not None}
    else:
        below = Row.objects.filter(symbol=symbol, timeframe=str(BASE_TIMEFRAME), open_ms__gte=open_ms)
        rows = below.filter(open_ms__lt=end_ms).order_by("open_ms")
        parts = [part.value(symbol.exchange_id, symbol.name) for part in rows]
    gaps = Gap.objects.filter(
        exchange_id=symbol.exchange_id, symbol__in=("", symbol.name),
        from_ns__lt=end_ms * 1_000_000, to_ns__gt=open_ms * 1_000_000,
    )  # fmt: skip
    return Explanation(
        row,
        candle,
        batches=sorted((_batch(*one) for one in slabs.items()), key=lambda b: (b.received_ns, b.name)),
        is_refolded=_is_refolded(symbol, row, slabs) if slabs else None,
        parts=parts,
        gaps=list(gaps.order_by("from_ns")),
        case=Mismatch.objects.filter(symbol=symbol, timeframe=str(timeframe), open_ms=open_ms).first(),
        differed=compare.names(row.differed),
        differs=compare.names(row.differs),
    )


def frames(symbol: ExchangeSymbol, timeframe: Timeframe, open_ms: int, recording: Recording) -> Iterator[Frame]:
    """The recorded frames with trades of this candle, in the order received; read as ingest reads them."""
    mapper, book = registry.venue(symbol.exchange_id).mapper, symbols.book(symbol.exchange_id)
    start_ns, end_ns = open_ms * 1_000_000, (open_ms + timeframe.ms) * 1_000_000
    for number, frame in enumerate(recording.frames()):
        trades = mapper([frame.payload], book).trades
        count = sum(t.symbol == symbol.name and start_ns <= t.time_ns < end_ns for t in trades)
        if count:
            yield Frame(number, frame.connection, frame.received_ns, count)


def _batch(name: str, columns: Slab) -> Batch:
    return Batch(
        name,
        is_rest=name.startswith(REST_FIELD),
        received_ns=columns.received_ns,
        trades=len(columns.ids),
        executions=sum(columns.executions),
        first_ns=min(columns.times_ns),
        last_ns=max(columns.times_ns),
        volume=sum(slab.numbers(columns.quantities), start=Decimal(0)),
    )


def _is_refolded(symbol: ExchangeSymbol, row: Row, slabs: dict[str, Slab]) -> bool:
    """Do the trades that are still there make this candle? Turnover apart, which the venue may have cut."""
    folded = fold(slabs)
    names = [name for name in compare.FIELDS if name != "turnover"]
    return folded is not None and all(getattr(folded, name) == getattr(row, name) for name in names)

