"""History on demand: what the table lacks of a venue's klines, planned first and fetched page by page."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from candles import window
from candles.compare import differences
from candles.models import Candle as CandleRow
from candles.planning import Page, Plan, Series, pages
from candles.services import unlisted
from candles.services.history import fill, settled_end
from candles.services.record import Closed, record
from exchanges import registry
from exchanges.services import allowance, rest
from exchanges.state import state_redis, unavailable
from exchanges.venue import Rest
from livermore.core import keys
from livermore.core.candle import Candle, Kline, Quality, Source, Timeframe
from livermore.core.errors import InvalidInput, ProtocolError, RateLimited, Transient
from livermore.logs import event
from symbols.models import ExchangeSymbol

log = logging.getLogger(__name__)

T = TypeVar("T")

RETRY_S = (1, 2, 4, 8, 16)
"""Pauses after passing trouble, before it is the caller's. Waiting for the budget's turn is no trouble."""
_MEASURED_FROM = 5
_EXPERIENCE_S = 30 * 86_400
_DOUBTED = (Quality.GAPPED, Quality.PENDING)


def plan(
    exchange: str,
    symbols: Sequence[ExchangeSymbol],
    timeframes: Sequence[Timeframe],
    from_ms: int | None = None,
    to_ms: int | None = None,
) -> Plan:
    """What the table lacks of these symbols, in this order; by default of the hot window's newest bars.

    Forming bars are never part of it, nor is what the venue once had nothing of. Asks the venue nothing.
    """
    page = registry.venue(exchange).kline_page
    found = []
    for symbol in symbols:
        for timeframe in timeframes:
            end_ms = min(settled_end(timeframe), to_ms or settled_end(timeframe))
            end_ms -= end_ms % timeframe.ms
            start_ms = end_ms - window.KEPT * timeframe.ms if from_ms is None else from_ms
            start_ms = unlisted.skip(exchange, symbol.name, timeframe, start_ms)
            stored = CandleRow.objects.filter(symbol=symbol, timeframe=str(timeframe))
            # One bar beyond the end, which may be ours.
            present = dict(
                stored.filter(open_ms__gte=start_ms, open_ms__lte=end_ms).values_list("open_ms", "source").iterator()
            )
            ours = {open_ms for open_ms, source in present.items() if source == Source.TRADES}
            lacking = tuple(pages(present, start_ms, end_ms, timeframe, page, ours=ours))
            found.append(Series(symbol.name, symbol.native, timeframe, start_ms, end_ms, lacking))
    return Plan(exchange, page.weight, found)


@unavailable()
def expected_s(plan: Plan, *, call_s: float | None = None, done: int = 0) -> float:
    """How long it will take, after `done` calls that took `call_s` each; by default as long as the last time."""
    last = state_redis().get(keys.call_s(plan.exchange)) if call_s is None else None
    call_s = float(last) if last else call_s
    return plan.seconds(allowance(plan.exchange), time.time_ns(), call_s=call_s, done=done)


@unavailable()
def _remember(exchange: str, call_s: float | None) -> None:
    if call_s is not None:
        state_redis().set(keys.call_s(exchange), call_s, ex=_EXPERIENCE_S)


@dataclass(slots=True)
class Backfill:
    """Carries a plan out; the numbers grow while `run` works and may be read by another thread.

    `joints` counts bars that the venue and our own fold both have, `differing` those that are not the same.
    """

    plan: Plan
    calls: int = 0
    bars: int = 0
    joints: int = 0
    differing: int = 0
    refused: list[str] = field(default_factory=list)
    changed: list[tuple[str, str, str]] = field(default_factory=list)
    busy_s: float = 0.0
    begun_s: float = 0.0
    _rest: Rest | None = None
    _ids: dict[str, int] = field(default_factory=dict)

    def run(self) -> None:
        """Fetch and store everything; what is stored stays stored, however this ends.

        A series that the venue will not serve is left out and named in `refused`. Raises what the venue's REST
        raises, passing trouble only after `RETRY_S`.
        """
        self.begun_s = time.monotonic()
        self._rest = rest(self.plan.exchange, patience_s=0)  # we wait ourselves, so that the waits can be told
        names = [series.symbol for series in self.plan.series]
        rows = ExchangeSymbol.objects.filter(exchange_id=self.plan.exchange, name__in=names)
        self._ids = {row.native: row.pk for row in rows}
        for series in self.plan.series:
            if not series.pages:
                continue
            try:
                self._fetch(series)
            except (InvalidInput, ProtocolError) as error:
                self.refused.append(f"{series.symbol} {series.timeframe}: {error}")
                self._tell("backfill.refused", series, why=error)
        _remember(self.plan.exchange, self._call_s())

    def calls_per_s(self) -> float:
        """The pace so far, waits included."""
        return self.calls / max(1e-3, time.monotonic() - self.begun_s) if self.begun_s else 0.0

    def left_s(self) -> float:
        """How much longer it will take, by the pace so far; raises `StoreUnavailable`."""
        return expected_s(self.plan, call_s=self._call_s(), done=self.calls)

    def _call_s(self) -> float | None:
        return self.busy_s / self.calls if self.calls >= _MEASURED_FROM else None

    def _fetch(self, series: Series) -> None:
        """The newest page first: what a venue omitted at the beginning of a page is flat at the next one's end."""
        open_head: int | None = None
        newer: Page | None = None
        bars = self.bars
        self.changed.append((self.plan.exchange, series.symbol, str(series.timeframe)))
        for page in series.pages:
            if newer is not None and page.to_ms != newer.from_ms:
                open_head = None
            open_head = self._fetch_page(series, page, open_head)
            newer = page
        if open_head is not None and newer is not None and newer.from_ms < series.from_ms + series.timeframe.ms:
            unlisted.remember(self.plan.exchange, series.symbol, series.timeframe, series.from_ms, open_head)
        self._tell("backfill.done", series, calls=len(series.pages), bars=self.bars - bars)

    def _fetch_page(self, series: Series, page: Page, open_head: int | None) -> int | None:
        """One request and its bars. `open_head` is where the newer page's known bars begin, if not at its beginning.

        Returns the same of this page.
        """
        began = time.monotonic()
        step, venue = series.timeframe.ms, registry.venue(self.plan.exchange)
        stored = self._stored(series, page.from_ms - step, page.to_ms + step)
        before = stored.get(page.from_ms - step)
        # One bar more on either side where the request has room: to compare, and for omitted ones to be flat at.
        # Where that close is not known, the request goes as far back as it can.
        room = max(0, venue.kline_page.most(series.timeframe) - (page.to_ms - page.from_ms) // step)
        beyond_ms = min(page.to_ms + min(1, room) * step, settled_end(series.timeframe))
        older = max(0, room - 1) if before is None and not venue.flat_when_idle else min(1, max(0, room - 1))
        ask_ms = page.from_ms - older * step
        self.busy_s += time.monotonic() - began
        klines = self._patiently(lambda source: source.klines(series.native, series.timeframe, ask_ms, beyond_ms))
        began = time.monotonic()
        self._compare(series, klines, stored)
        inside = [kline for kline in klines if kline.open_ms < page.to_ms]
        if before is not None and all(kline.open_ms > before.open_ms for kline in inside):
            inside.append(_as_kline(before))
        end_ms = open_head or page.to_ms
        is_followed = open_head is not None or end_ms in stored or len(inside) < len(klines)
        omits = is_followed or not venue.flat_when_idle
        filled = fill(self.plan.exchange, series.symbol, series.timeframe, inside, end_ms, omits=omits)
        known = [candle for candle in filled if candle.open_ms >= page.from_ms]
        fresh = [Closed(candle, 0) for candle in known if candle.open_ms not in stored]
        record(fresh, tell=False)
        self.calls += 1
        self.bars += len(fresh)
        self.busy_s += time.monotonic() - began
        first_ms = known[0].open_ms if known else end_ms
        return first_ms if first_ms > page.from_ms else None

    def _stored(self, series: Series, from_ms: int, to_ms: int) -> dict[int, Candle]:
        rows = CandleRow.objects.filter(
            symbol_id=self._ids[series.native], timeframe=str(series.timeframe), open_ms__gte=from_ms, open_ms__lt=to_ms
        )
        return {row.open_ms: row.value(self.plan.exchange, series.symbol) for row in rows}

    def _compare(self, series: Series, klines: Sequence[Kline], stored: dict[int, Candle]) -> None:
        """Where the venue's bars meet those we folded ourselves, both must say the same."""
        for kline in klines:
            ours = stored.get(kline.open_ms)
            if ours is None or ours.source is not Source.TRADES or ours.quality in _DOUBTED:
                continue
            self.joints += 1
            if differing := differences(ours, kline):
                self.differing += 1
                fields = " ".join(f"{name}:{our}≠{theirs}" for name, (our, theirs) in differing.items())
                self._tell("backfill.joint_differs", series, logging.WARNING, open=kline.open_ms, fields=fields)

    def _patiently(self, ask: Callable[[Rest], T]) -> T:
        """What it answers; waits for the budget's turn, and tries again after passing trouble."""
        assert self._rest is not None
        pauses = iter(RETRY_S)
        while True:
            began = time.monotonic()
            try:
                return ask(self._rest)
            except RateLimited as error:
                time.sleep(max(0.0, error.until_ms / 1000 - time.time()))
                began = time.monotonic()
            except Transient:
                if (pause_s := next(pauses, None)) is None:
                    raise
                time.sleep(pause_s)
                began = time.monotonic()
            finally:
                self.busy_s += time.monotonic() - began

    def _tell(self, name: str, series: Series, level: int = logging.INFO, **fields: object) -> None:
        event(
            log, name, level, exchange=self.plan.exchange, symbol=series.symbol, timeframe=series.timeframe, **fields
        )


def _as_kline(candle: Candle) -> Kline:
    return Kline(candle.open_ms, candle.open, candle.high, candle.low, candle.close, candle.volume)
