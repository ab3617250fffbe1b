"""Every candle that we fold is compared with the venue's own; what differs is a case, and is mended."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from math import ceil

from django.db.models import F, Max, Min, Q, QuerySet
from django.db.models.functions import Coalesce
from django.utils import timezone

from candles import compare
from candles.models import Candle as Row
from candles.models import Gap, Mismatch
from candles.services.adopt import adopted
from candles.services.carry import carry
from candles.services.larger import larger, overdue
from candles.services.record import Closed, record
from candles.services.repair import Repair
from exchanges import registry
from exchanges.services import rest
from exchanges.venue import Backfill, Venue
from livermore.core.candle import BASE_TIMEFRAME, Candle, Kline, Quality, Reason, Source, Timeframe
from livermore.core.errors import InvalidInput
from livermore.logs import event
from symbols.models import ExchangeSymbol

log = logging.getLogger(__name__)

_Differing = tuple[Row, Kline, dict[str, compare.Difference]]

SETTLED_MS = 60_000
"""A kline is compared so long after its end: some venues serve it from a database that lags."""
UNTOLD_MS = 600_000
"""A kline that is not there is believed not to exist so long after its end."""
SPAN_MS = 24 * 3600 * 1000
"""A candle that could not be compared for so long is left alone."""
ROUND_MIN = 20
"""Every symbol's turn comes within so many minutes."""
PATIENCE = timedelta(minutes=2)
"""Repair by trades has so long before the venue's kline is taken."""


@dataclass(slots=True)
class Reconciled:
    """What came of it: candles compared, and equal at first sight; candles that changed; trades to fetch.

    `is_in_repair`: some 5m candle is being repaired by trades, so larger ones were not compared yet.
    """

    checked: int = 0
    equal: int = 0
    changed: list[Candle] = field(default_factory=list)
    repairs: list[Repair] = field(default_factory=list)
    is_in_repair: bool = False


def wanted(exchange: str) -> list[str]:
    """The symbols whose turn it is this minute: those of open cases, and those who waited longest."""
    now_ms = _now_ms()
    settled = Q(timeframe=str(BASE_TIMEFRAME), open_ms__lte=now_ms - BASE_TIMEFRAME.ms - SETTLED_MS)
    rows = Row.objects.filter(_unchecked(now_ms), settled, symbol__exchange_id=exchange)
    waiting = (
        rows.order_by().values("symbol_id", name=F("symbol__name")).annotate(worst=Max("differs"), since=Min("open_ms"))
    )
    turn = sorted(waiting, key=lambda one: (one["since"], one["name"]))
    cases = [one["name"] for one in turn if one["worst"]]
    others = [one["name"] for one in turn if not one["worst"]]
    # Each has its own share, so that many cases do not hold back who was not looked at yet, nor the reverse.
    share = ceil(len(turn) / ROUND_MIN)
    return cases[:share] + others[:share]


def reconcile(exchange: str, symbol: str, span_ms: tuple[int, int] | None = None) -> Reconciled:
    """Compare the candles of one symbol that changed since they were compared, or all in `[from, to)` ms.

    Equal ones are proven. Others become a `Mismatch` and are mended: trades are fetched again where the
    venue gives them, else (or where that did not help) its kline is taken. Buckets of which the venue has a
    kline and we nothing are taken from it. Raises `InvalidInput` for an unknown symbol, and what the venue's
    REST raises (`Transient`: try again).
    """
    named = ExchangeSymbol.objects.select_related("exchange").filter(exchange_id=exchange, name=symbol)
    row = named.order_by("-is_trading").first()
    if row is None:
        raise InvalidInput(f"{exchange} has no symbol {symbol!r}")
    done = Reconciled()
    # The smallest first: a larger candle is compared as its mended parts make it.
    for timeframe in map(Timeframe, row.exchange.timeframes):
        if done.is_in_repair:
            break
        _Series(row, timeframe, done).reconcile(span_ms)
        if timeframe is BASE_TIMEFRAME:
            done.changed += carry(done.changed)
            done.changed += record(larger(done.changed) + overdue(exchange, symbol))
    event(
        log, "candles.reconciled", exchange=exchange, symbol=symbol, checked=done.checked, equal=done.equal,
        repairs=len(done.repairs),
    )  # fmt: skip
    return done


class _Series:
    """One symbol's candles of one timeframe, against the venue's klines."""

    def __init__(self, symbol: ExchangeSymbol, timeframe: Timeframe, done: Reconciled) -> None:
        self._symbol, self._timeframe, self._done = symbol, timeframe, done
        self._venue = registry.venue(symbol.exchange_id)
        self._now_ms = _now_ms()
        self._arithmetic = _arithmetic(self._venue, symbol.quote_precision)

    def reconcile(self, span_ms: tuple[int, int] | None) -> None:
        rows = self._rows(span_ms)
        if not rows:
            return
        first, last = rows[0].open_ms, rows[-1].open_ms
        source = rest(self._symbol.exchange_id)
        found = source.klines(self._symbol.native, self._timeframe, first, last + self._timeframe.ms)
        klines = {kline.open_ms: kline for kline in found}
        equal, differing = [], []
        for row in rows:
            kline = klines.get(row.open_ms) or self._unsaid(row)
            if kline is None:
                continue
            candle = row.value(self._symbol.exchange_id, self._symbol.name)
            if fields := compare.differences(candle, kline, self._arithmetic):
                differing.append((row, kline, fields))
            else:
                equal.append((row, candle, kline))
        self._done.checked += len(equal) + len(differing)
        self._done.equal += len(equal)
        self._prove(equal)
        fresh = self._open_cases(differing)
        if self._timeframe is BASE_TIMEFRAME:
            self._mend(differing, fresh)
            self._take(self._absent(klines, first, last))

    def _rows(self, span_ms: tuple[int, int] | None) -> list[Row]:
        end_ms = self._now_ms - SETTLED_MS - self._timeframe.ms
        rows = Row.objects.filter(
            symbol=self._symbol, timeframe=str(self._timeframe), source=str(Source.TRADES), open_ms__lte=end_ms
        )
        if self._symbol.rename_of_id is not None:  # what is older has another name at the venue, or none
            rows = rows.filter(open_ms__gte=int(self._symbol.first_seen.timestamp() * 1000))
        if span_ms is None:
            rows = rows.filter(_unchecked(self._now_ms))
        else:
            rows = rows.filter(open_ms__gte=span_ms[0], open_ms__lt=span_ms[1])
        gaps = self._gaps()
        return [row for row in rows.order_by("open_ms") if not self._is_in_repair(row, gaps)]

    def _gaps(self) -> list[tuple[int, int]]:
        gaps = Gap.objects.filter(
            exchange_id=self._symbol.exchange_id, symbol=self._symbol.name, closed_at=None,
            opened_at__gte=timezone.now() - timedelta(milliseconds=UNTOLD_MS),
        )  # fmt: skip
        return list(gaps.values_list("from_ns", "to_ns"))

    def _is_in_repair(self, row: Row, gaps: Sequence[tuple[int, int]]) -> bool:
        """Nobody vouches for a candle that lacks a part, or while its gap is being repaired."""
        if row.parts is not None and row.parts < self._timeframe.buckets:
            return True
        start, end = row.open_ms * 1_000_000, (row.open_ms + self._timeframe.ms) * 1_000_000
        return any(from_ns < end and to_ns > start for from_ns, to_ns in gaps)

    def _unsaid(self, row: Row) -> Kline | None:
        """No kline: nothing was traded, where the venue omits such intervals and has had the time to tell."""
        if self._venue.flat_when_idle or row.open_ms + self._timeframe.ms + UNTOLD_MS > self._now_ms:
            return None
        return compare.flat(row.open_ms, row.close)

    def _prove(self, equal: Sequence[tuple[Row, Candle, Kline]]) -> None:
        """All executions are confirmed; where the venue's arithmetic cut the turnover, ours becomes its own."""
        better = {
            row.open_ms: (row, proven)
            for row, candle, kline in equal
            if (proven := self._proven(candle, kline)) != candle
        }
        standing = record(
            [Closed(proven, row.evidence, row.evidence, (row.first_id, row.last_id)) for row, proven in better.values()]
        )
        self._done.changed += standing
        for candle in standing:
            row, proven = better[candle.open_ms]
            if replace(candle, revision=0) == replace(proven, revision=0):
                row.revision = candle.revision  # ours; any other is somebody's newer version
        self._mark([(row, 0) for row, *_ in equal])
        opens = [row.open_ms for row, *_ in equal]
        self._cases(opens).filter(mended_at=None).update(mended_at=timezone.now(), method="trades")

    def _proven(self, candle: Candle, kline: Kline) -> Candle:
        is_cut = self._venue.turnover_cut and kline.turnover is not None
        turnover = kline.turnover if is_cut else candle.turnover
        if candle.volume == 0:
            return replace(candle, turnover=turnover, quality=Quality.EMPTY, reason=Reason.NO_TRADES)
        return replace(candle, turnover=turnover, quality=Quality.PROVEN, reason=None)

    def _open_cases(self, differing: Sequence[_Differing]) -> set[int]:
        """Write the cases down; the opens of those that are new."""
        fresh = set()
        for row, _, fields in differing:
            case, is_new = Mismatch.objects.get_or_create(
                symbol=self._symbol, timeframe=row.timeframe, open_ms=row.open_ms, defaults={"fields": fields}
            )
            if not is_new and case.mended_at is not None:
                case.fields, case.mended_at, case.method, case.found_at = fields, None, "", timezone.now()
                case.save()
                is_new = True
            if is_new:
                fresh.add(row.open_ms)
                event(
                    log, "candle.differs", logging.WARNING, exchange=self._symbol.exchange_id,
                    symbol=self._symbol.name, timeframe=row.timeframe, open=row.open_ms, fields=fields,
                )  # fmt: skip
        self._mark([(row, compare.mask(fields)) for row, _, fields in differing])
        return fresh

    def _mend(self, differing: Sequence[_Differing], fresh: set[int]) -> None:
        """Trades once, if the venue gives them; then its kline."""
        gives_trades = self._venue.backfill in (Backfill.BY_ID, Backfill.BY_TIME)
        patient = self._cases([row.open_ms for row, *_ in differing]).filter(found_at__gte=timezone.now() - PATIENCE)
        young = set(patient.values_list("open_ms", flat=True)) if gives_trades else set()
        exchange, symbol = self._symbol.exchange_id, self._symbol.name
        for open_ms in sorted(young & fresh):
            end_ms = open_ms + self._timeframe.ms
            self._done.repairs.append(Repair(exchange, symbol, open_ms, end_ms, self._now_ms))
        self._done.is_in_repair = bool(young)
        self._take([kline for row, kline, _ in differing if row.open_ms not in young])

    def _absent(self, klines: Mapping[int, Kline], first: int, last: int) -> list[Kline]:
        """Klines between the first and the last candle of which we have none."""
        have = Row.objects.filter(symbol=self._symbol, timeframe=str(self._timeframe), open_ms__range=(first, last))
        ours = set(have.values_list("open_ms", flat=True))
        return [kline for open_ms, kline in sorted(klines.items()) if first < open_ms < last and open_ms not in ours]

    def _take(self, klines: Sequence[Kline]) -> None:
        candles = [adopted(self._symbol.exchange_id, self._symbol.name, kline) for kline in klines]
        self._done.changed += record([Closed(candle, candle.trades or 0) for candle in candles])
        opens = [kline.open_ms for kline in klines]
        Row.objects.filter(symbol=self._symbol, timeframe=str(self._timeframe), open_ms__in=opens).update(
            differs=0, checked_ms=_now_ms()
        )
        self._cases(opens).update(mended_at=timezone.now(), method="kline")

    def _cases(self, opens: Sequence[int]) -> QuerySet[Mismatch]:
        return Mismatch.objects.filter(symbol=self._symbol, timeframe=str(self._timeframe), open_ms__in=opens)

    def _mark(self, compared: Sequence[tuple[Row, int]]) -> None:
        """Remember what differed; not of a candle that was revised meanwhile, which is compared anew."""
        alike: dict[tuple[int, int, bool], list[int]] = defaultdict(list)
        for row, mask in compared:
            is_vouched = row.quality in (Quality.PROVEN, Quality.CLEAN, Quality.EMPTY)
            alike[mask, row.revision, is_vouched].append(row.open_ms)
        for (mask, revision, is_vouched), opens in alike.items():
            rows = Row.objects.filter(
                symbol=self._symbol, timeframe=str(self._timeframe), open_ms__in=opens, revision=revision
            )
            first = {"differed": Coalesce(F("differed"), mask)} if is_vouched else {}
            rows.update(checked_ms=_now_ms(), differs=mask, **first)


def _unchecked(now_ms: int) -> Q:
    """Folded from trades, and changed since it was compared, or different then; the index is made for it."""
    changed = Q(recorded_ms__gt=F("checked_ms")) | Q(differs__gt=0)
    return Q(source=str(Source.TRADES), open_ms__gte=now_ms - SPAN_MS) & changed


def _arithmetic(venue: Venue, quote_precision: int | None) -> compare.Arithmetic | None:
    if quote_precision is None or not (venue.turnover_cut or venue.turnover_shortened):
        return None
    return compare.Arithmetic(Decimal(1).scaleb(-quote_precision), venue.turnover_cut)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
