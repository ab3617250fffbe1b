"""How good the candles are: match rates against the venues' own, verdicts, coverage, gaps, open cases."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from django.db.models import Count, F, Max, Min, Q, QuerySet, Sum

from candles.compare import FIELDS
from candles.models import Candle, Gap
from livermore.core.candle import BASE_TIMEFRAME, BUCKET_MS, Quality, Source

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Score:
    """The 5m candles of an exchange, or of one of its symbols, in a span of time.

    `compared`: candles folded from trades that we vouched for when they were first compared with the
    venue's kline; `equal` of them were the same in every field, and `differing` counts by field the others.
    `unlike` differ to this day. `present` of `expected` candles exist between the first and the last.
    `revised` changed after they had been closed. Streams brought `executions`, and `repeated` of them once more.
    The verdicts count candles as they stand; `adopted` are the venue's own, taken where trades could not be had.
    """

    exchange: str
    symbol: str
    compared: int
    equal: int
    unlike: int
    differing: dict[str, int]
    verdicts: dict[str, int]
    adopted: int
    revised: int
    executions: int
    repeated: int
    present: int
    expected: int
    gaps: int
    open_gaps: int
    gap_s: float

    @property
    def match_rate(self) -> float | None:
        """Of what we vouched for, the share that was equal at first; None before anything was compared."""
        return self.equal / self.compared if self.compared else None

    @property
    def standing_rate(self) -> float | None:
        """The share that is equal now, after what was mended."""
        return 1 - self.unlike / self.compared if self.compared else None

    @property
    def repeat_rate(self) -> float | None:
        """Of all executions that streams brought, the share that had come before."""
        brought = self.executions + self.repeated
        return self.repeated / brought if brought else None

    def public(self) -> dict[str, Any]:
        """For the API; rates have six digits."""
        rates = {
            "match_rate": self.match_rate,
            "standing_rate": self.standing_rate,
            "repeat_rate": self.repeat_rate,
            "coverage": self.present / self.expected if self.expected else None,
        }
        return asdict(self) | {name: None if rate is None else round(rate, 6) for name, rate in rates.items()}


def scores(since_ms: int, *, exchange: str = "", symbol: str = "", by_symbol: bool = False) -> list[Score]:
    """One score an exchange, or one a symbol, of the candles that opened since; worst match rate first."""
    rows = Candle.objects.filter(timeframe=str(BASE_TIMEFRAME), open_ms__gte=since_ms).order_by()
    gaps = Gap.objects.filter(to_ns__gte=since_ms * 1_000_000).order_by()
    if exchange:
        rows, gaps = rows.filter(symbol__exchange_id=exchange), gaps.filter(exchange_id=exchange)
    if symbol:
        rows, gaps = rows.filter(symbol__name=symbol), gaps.filter(symbol=symbol)
    found = _gaps(gaps, by_symbol)
    made = [_score(row, found) for row in _counted(rows, by_symbol)]
    return sorted(made, key=lambda s: (s.match_rate if s.match_rate is not None else 2, s.exchange, s.symbol))


def _counted(rows: QuerySet[Candle], by_symbol: bool) -> list[dict[str, Any]]:
    of = {"exchange": F("symbol__exchange_id")} | ({"name": F("symbol__name")} if by_symbol else {})
    bits = {f"bit_{name}": F("differed").bitand(1 << at) for at, name in enumerate(FIELDS)}
    each = {} if by_symbol else {"series": Count("symbol_id", distinct=True)}
    counts = {
        "compared": Count("id", filter=Q(differed__isnull=False)),
        "equal": Count("id", filter=Q(differed=0)),
        "unlike": Count("id", filter=Q(differed__isnull=False, differs__gt=0)),
        "adopted": Count("id", filter=Q(source=str(Source.ADOPTED))),
        "revised": Count("id", filter=Q(revision__gt=0)),
        "executions": Sum("evidence", filter=Q(source=str(Source.TRADES)), default=0),
        "repeats": Sum("repeated", default=0),
        "present": Count("id"),
        "first": Min("open_ms"),
        "last": Max("open_ms"),
        **{f"is_{quality}": Count("id", filter=Q(quality=str(quality))) for quality in Quality},
        **{f"not_{name}": Count("id", filter=Q(**{f"bit_{name}__gt": 0})) for name in FIELDS},
    }
    return list(rows.annotate(**bits).values(**of).annotate(**counts, **each))


def _gaps(gaps: QuerySet[Gap], by_symbol: bool) -> dict[tuple[str, str], tuple[int, int, float]]:
    names = ["exchange_id", "symbol"] if by_symbol else ["exchange_id"]
    counted = gaps.values(*names).annotate(
        all=Count("id"), open=Count("id", filter=Q(closed_at=None)), ns=Sum(F("to_ns") - F("from_ns"))
    )
    return {
        (one["exchange_id"], one.get("symbol", "")): (one["all"], one["open"], round(one["ns"] / 1e9, 1))
        for one in counted
    }


def _score(row: dict[str, Any], gaps: dict[tuple[str, str], tuple[int, int, float]]) -> Score:
    exchange, symbol = row["exchange"], row.get("name", "")
    count, still_open, seconds = gaps.get((exchange, symbol), (0, 0, 0.0))
    return Score(
        exchange,
        symbol,
        row["compared"],
        row["equal"],
        row["unlike"],
        differing={name: row[f"not_{name}"] for name in FIELDS if row[f"not_{name}"]},
        verdicts={str(quality): row[f"is_{quality}"] for quality in Quality},
        adopted=row["adopted"],
        revised=row["revised"],
        executions=row["executions"],
        repeated=row["repeats"],
        present=row["present"],
        expected=((row["last"] - row["first"]) // BUCKET_MS + 1) * row.get("series", 1),
        gaps=count,
        open_gaps=still_open,
        gap_s=seconds,
    )
