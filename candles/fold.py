"""Slabs → candle: a pure function of the *set* of trades, whatever the order, the batches and the repeats."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_DOWN, Context, Decimal, localcontext
from itertools import compress, repeat
from operator import itemgetter, mul

from candles.outlier import doubtful, is_calm
from candles.slab import Slab, identities, numbers
from livermore.core.candle import Candle, Quality, Reason, Source, Timeframe, worst
from livermore.core.exact import EXACT

REST_FIELD = "rest:"
"""Slabs under a field with this prefix were fetched by REST; they win where two versions of a trade differ."""

_CUT = Context(prec=100, rounding=ROUND_DOWN)

Row = tuple[int, int | str, int, str, str, bool, bool]  # time, id, executions, price, quantity, is_buy, is_rest
Doubles = tuple[int, int]  # conflicts, repeated executions


@dataclass(frozen=True, slots=True)
class Folded:
    """OHLCV of one bucket and what the ids prove. `trades` counts executions.

    `first_id` and `last_id` are numbers where the venue numbers its trades, else None; `is_unbroken` tells
    that the ids between them are all there. `confirmed` executions came by REST. `conflicts` counts trades
    of which two versions differed, `repeated` the executions that a stream brought once more than was needed.
    """

    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    turnover: Decimal
    taker_buy_volume: Decimal
    trades: int
    confirmed: int
    first_id: int | None
    last_id: int | None
    is_unbroken: bool
    conflicts: int
    repeated: int = 0


def fold(slabs: Mapping[str, Slab], *, turnover_step: Decimal | None = None) -> Folded | None:
    """Fold the slabs of one bucket (batch id → slab); None when they hold no trade.

    Identity is the venue's trade id, or the place in the batch where there is none. The order is
    (time, id): open is the least, close the greatest, whatever arrived first. An id that is text says nothing
    of order; there it is (time, place), by the batches' own numbers. With `turnover_step` each
    trade's quote amount is cut to that step before it is added, as some venues do.
    """
    rows, doubles = _distinct(slabs)
    prices = numbers([row[3] for row in rows]) if rows else []
    return _fold(rows, prices, doubles, turnover_step)


def fold_believed(
    slabs: Mapping[str, Slab], reference: Decimal | None, *, turnover_step: Decimal | None = None
) -> tuple[Folded | None, int]:
    """`fold` without the trades that `outlier` doubts, and how many those are; `reference` is the price before."""
    rows, doubles = _distinct(slabs)
    prices = numbers([row[3] for row in rows]) if rows else []
    if is_calm(prices, reference):
        return _fold(rows, prices, doubles, turnover_step), 0
    # Only a bucket with a jump pays for the order.
    by_time = itemgetter(0) if _is_text(rows) else itemgetter(0, 1)
    ordered = sorted(zip(rows, prices, strict=True), key=lambda pair: by_time(pair[0]))
    doubted = doubtful([price for _, price in ordered], [row[6] for row, _ in ordered], reference)
    kept = [pair for position, pair in enumerate(ordered) if position not in doubted]
    return _fold([row for row, _ in kept], [price for _, price in kept], doubles, turnover_step), len(doubted)


def _fold(
    rows: Sequence[Row], prices: Sequence[Decimal], doubles: Doubles, turnover_step: Decimal | None
) -> Folded | None:
    if not rows:
        return None
    times, ids, executions, _, quantity_texts, buys, are_rest = zip(*rows, strict=True)
    quantities = numbers(list(quantity_texts))
    places = range(len(rows))
    order = list(zip(times, places if _is_text(rows) else ids, places, strict=True))
    with localcontext(EXACT):
        amounts: Iterable[Decimal] = map(mul, prices, quantities)
        if turnover_step is not None:
            amounts = [amount.quantize(turnover_step, context=_CUT) for amount in amounts]
        turnover = sum(amounts, start=Decimal(0))
        volume = sum(quantities, start=Decimal(0))
        bought = sum(compress(quantities, buys), start=Decimal(0))
    first_id, last_id, is_unbroken = _chain(ids, executions)
    return Folded(
        open=prices[min(order)[2]],
        high=max(prices),
        low=min(prices),
        close=prices[max(order)[2]],
        volume=volume,
        turnover=turnover,
        taker_buy_volume=bought,
        trades=sum(executions),
        confirmed=sum(compress(executions, are_rest)),
        first_id=first_id,
        last_id=last_id,
        is_unbroken=is_unbroken,
        conflicts=doubles[0],
        repeated=doubles[1],
    )


def _distinct(slabs: Mapping[str, Slab]) -> tuple[list[Row], Doubles]:
    """Every trade once, of how many trades two versions differed, and how many executions streams repeated."""
    rows: list[Row] = []
    keys: list[tuple[str, int] | int | str] = []
    for field, slab in _placed(slabs):
        keys += identities(field, slab)
        is_rest = repeat(field.startswith(REST_FIELD))
        rows += zip(
            slab.times_ns, slab.ids, slab.executions, slab.prices, slab.quantities, slab.buys, is_rest, strict=False
        )
    if len(set(keys)) == len(keys):
        return rows, (0, 0)
    chosen: dict[tuple[str, int] | int | str, Row] = {}
    conflicts, repeated = set(), 0
    for key, row in zip(keys, rows, strict=True):
        other = chosen.get(key)
        if other is None:
            chosen[key] = row
            continue
        if other[:6] != row[:6]:
            conflicts.add(key)
        if not (other[6] or row[6]):
            repeated += row[2]
        # REST beats stream, then the greater tuple: a rule that does not depend on arrival.
        chosen[key] = max(other, row, key=lambda r: (r[6], r[:6]))
    return list(chosen.values()), (len(conflicts), repeated)


def _is_text(rows: Sequence[Row]) -> bool:
    return any(type(row[1]) is str for row in rows)


def _placed(slabs: Mapping[str, Slab]) -> Iterable[tuple[str, Slab]]:
    """Where ids are text, in the order of connections and of their batches' numbers; else in any."""
    if not any(type(slab.ids[0]) is str for slab in slabs.values() if slab.ids):
        return slabs.items()

    def place(item: tuple[str, Slab]) -> tuple[str, int, str]:
        connection, _, number = item[0].rpartition(":")
        return connection, int(number) if number.isdigit() else 0, number

    return sorted(slabs.items(), key=place)


def _chain(ids: tuple[int | str, ...], executions: tuple[int, ...]) -> tuple[int | None, int | None, bool]:
    """First and last numeric id, and whether the ids between them are all there."""
    if not all(type(i) is int for i in ids):
        return None, None, False
    first = min(ids)
    last = max(i + n - 1 for i, n in zip(ids, executions, strict=True))  # type: ignore[operator]
    return first, last, last - first + 1 == sum(executions)  # type: ignore[operator, return-value]


def widen(parts: Sequence[Candle], timeframe: Timeframe) -> Candle:
    """A larger candle from its smaller ones, oldest first. Where one is missing or gapped it is gapped itself.

    `parts` counts those that are whole. Flat candles without trades lend their price only where nothing was
    traded at all, so that a quiet first child does not become the open. Sums are unknown where one child's is.
    """
    traded = [c for c in parts if not c.is_synthetic] or list(parts)
    first = parts[0]
    whole = sum(c.quality is not Quality.GAPPED for c in parts)
    with localcontext(EXACT):
        return replace(
            first,
            timeframe=timeframe,
            open_ms=first.open_ms - first.open_ms % timeframe.ms,
            open=traded[0].open,
            high=max(c.high for c in traded),
            low=min(c.low for c in traded),
            close=traded[-1].close,
            volume=sum((c.volume for c in parts), start=Decimal(0)),
            turnover=_total([c.turnover for c in parts]),
            taker_buy_volume=_total([c.taker_buy_volume for c in parts]),
            trades=_count([c.trades for c in parts]),
            revision=0,
            source=_source({c.source for c in parts}),
            quality=worst(c.quality for c in parts) if whole == timeframe.buckets else Quality.GAPPED,
            reason=_reason(parts),
            parts=whole,
        )


def _source(sources: set[Source]) -> Source:
    """One adopted child makes the whole adopted, else one fetched child makes it fetched."""
    return next(s for s in (Source.ADOPTED, Source.REST, Source.TRADES) if s in sources)


def _total(values: Sequence[Decimal | None]) -> Decimal | None:
    known = [v for v in values if v is not None]
    return sum(known, start=Decimal(0)) if len(known) == len(values) else None


def _count(values: Sequence[int | None]) -> int | None:
    known = [v for v in values if v is not None]
    return sum(known) if len(known) == len(values) else None


def _reason(parts: Sequence[Candle]) -> Reason | None:
    if not all(c.is_synthetic for c in parts):
        return None
    return Reason.OUTAGE if any(c.reason is Reason.OUTAGE for c in parts) else Reason.NO_TRADES
