"""What becomes of a replayed recording: which batches are stored, which buckets closed, which candles stand."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256

from candles import ledger
from candles.ledger import GRACE_MS, Bucket
from candles.models import Candle as CandleRow
from exchanges import registry
from exchanges.recording import Listed
from exchanges.state import state_redis, unavailable
from livermore.core import keys
from livermore.core.candle import BUCKET_MS, BUCKET_NS, Candle, Timeframe
from livermore.core.frame import FrameBatch
from livermore.core.symbol import Symbol
from symbols import services as symbols
from symbols.models import ExchangeSymbol

_AT_ONCE = 500


@dataclass(slots=True)
class Replayed:
    """What was published so far. `unknown` counts frames of natives that the symbol table lacks."""

    exchange: str
    frames: int = 0
    batches: int = 0
    trades: int = 0
    unknown: Counter[str] = field(default_factory=Counter)
    buckets: set[Bucket] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The candles that stand in the replayed range, and what they hash to."""

    candles: dict[Timeframe, int]
    sha256: str


class Follower:
    """Follows the batches of one exchange's replay through the pipeline; keeps `told` up to date."""

    def __init__(self, exchange: str) -> None:
        self.told = Replayed(exchange)
        self._exchange = exchange
        self._mapper = registry.venue(exchange).mapper
        self._book = symbols.book(exchange)
        self._stored: dict[str, int] = {}

    @unavailable()
    def expect(self, batch: FrameBatch) -> None:
        """Take note of a batch that is about to be published; what an earlier replay left of it is forgotten."""
        told = self.told
        if batch.connection not in self._stored:
            state_redis().delete(keys.batches(self._exchange, batch.connection))
            self._stored[batch.connection] = 0
        mapped = self._mapper(batch.frames, self._book)
        told.frames += len(batch.frames)
        told.batches += 1
        told.trades += len(mapped.trades)
        told.unknown += mapped.unknown
        told.buckets |= {Bucket(trade.symbol, trade.time_ns // BUCKET_NS * BUCKET_MS) for trade in mapped.trades}

    @unavailable()
    def stored(self) -> int:
        """How many of the published batches have their slabs stored."""
        pipe = state_redis().pipeline(transaction=False)
        for connection in self._stored:
            pipe.bitcount(keys.batches(self._exchange, connection))
        # A connection that has long been quiet loses its bitmap, but not what it stored.
        for (connection, before), now in zip(list(self._stored.items()), pipe.execute(), strict=True):
            self._stored[connection] = max(before, now)
        return sum(self._stored.values())

    @unavailable()
    def still_due(self) -> list[Bucket]:
        """The replayed buckets that have yet to be folded, or folded again."""
        found = []
        for some in _portions(sorted(self.told.buckets)):
            scores = state_redis().zmscore(keys.due(self._exchange), [bucket.member for bucket in some])
            found += [bucket for bucket, score in zip(some, scores, strict=True) if score is not None]
        return found

    @unavailable()
    def judge_again(self) -> None:
        """Have every replayed bucket judged once more, now that its neighbours are whole.

        One whose slabs have expired is left alone: nothing would be folded.
        """
        for some in _portions(sorted(self.told.buckets)):
            pipe = state_redis().pipeline(transaction=False)
            for bucket in some:
                pipe.exists(keys.trades(self._exchange, bucket.symbol, bucket.open_ms))
            kept = [bucket for bucket, exists in zip(some, pipe.execute(), strict=True) if exists]
            ledger.mark(self._exchange, kept, now_ms=_now_ms(), again=True)

    def open_until_ms(self) -> int:
        """When the last replayed bucket is due to be closed; in the past for an old recording."""
        return max((bucket.end_ms for bucket in self.told.buckets), default=0) + GRACE_MS

    def outcome(self) -> Outcome:
        """The closed candles, of every timeframe, that touch the replayed range of the replayed symbols.

        The hash is over their public JSON, one a line, in order, without the revision: that counts how
        often a candle was looked at while it was still growing, which is a matter of timing.
        """
        candles = sorted(self._candles(), key=lambda c: (c.symbol, c.timeframe.ms, c.open_ms))
        digest = sha256()
        for candle in candles:
            digest.update(replace(candle, revision=0).to_json().encode() + b"\n")
        counts = Counter(candle.timeframe for candle in candles)
        return Outcome({t: counts[t] for t in Timeframe if counts[t]}, digest.hexdigest())

    def _candles(self) -> Iterable[Candle]:
        if not self.told.buckets:
            return
        from_ms = min(bucket.open_ms for bucket in self.told.buckets)
        to_ms = max(bucket.end_ms for bucket in self.told.buckets)
        names = {bucket.symbol for bucket in self.told.buckets}
        rows = CandleRow.objects.filter(
            symbol__exchange_id=self._exchange, open_ms__gt=from_ms - Timeframe.D1.ms, open_ms__lt=to_ms
        )
        for row in rows.select_related("symbol").iterator():
            if row.symbol.name in names and row.open_ms + Timeframe(row.timeframe).ms > from_ms:
                yield row.value(self._exchange, row.symbol.name)


def list_symbols(exchange: str, listed: Iterable[Listed]) -> int:
    """Add symbols that the table lacks; how many. What it holds already stays as it is.

    They are Tier 1: what a recording brings is for everybody to see. Raises `InvalidInput` for a name that is not
    canonical.
    """
    rows = ExchangeSymbol.objects.filter(exchange_id=exchange)
    natives = set(rows.values_list("native", flat=True))
    trading = set(rows.trading().values_list("name", flat=True))
    fresh = []
    for one in listed:
        symbol = Symbol.parse(one.symbol)
        if one.native not in natives and str(symbol) not in trading:
            fresh.append(
                ExchangeSymbol(
                    exchange_id=exchange, native=one.native, base=symbol.base, quote=symbol.quote, name=str(symbol),
                    quote_precision=one.quote_precision, status="recorded", tier=1,
                )
            )  # fmt: skip
            trading.add(str(symbol))
            natives.add(one.native)
    ExchangeSymbol.objects.bulk_create(fresh)
    return len(fresh)


def _portions(buckets: Sequence[Bucket]) -> Iterable[Sequence[Bucket]]:
    return (buckets[at : at + _AT_ONCE] for at in range(0, len(buckets), _AT_ONCE))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
