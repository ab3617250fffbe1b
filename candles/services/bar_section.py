"""What the slower signals look at: MACD-V of a closed bar, ticks of a quarter hour, closes in dollars."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import combinations
from math import log
from statistics import median

from candles import ledger, window
from candles.indicators import macdv
from candles.indicators.bars import Bars
from candles.indicators.indicator import CONVERGED_BARS, LOAD_BARS
from candles.ledger import Bucket
from candles.services.section import STABLES, Sections
from candles.services.standings import Closes
from candles.signals.bars import BarMarket, BarSection
from candles.signals.hayashi import Ticks
from candles.signals.lead_lag import WINDOW_S, LeadSection, Series, measure
from candles.signals.reference import USD
from candles.signals.section import Market, primary_markets
from candles.window import Span
from livermore.core.candle import BASE_TIMEFRAME, BUCKET_MS, Candle, Reason, Timeframe

BARS_BACK = 8
DENSEST_MS = 100
MOST_TICKS = WINDOW_S * 1_000 // DENSEST_MS


def bar_section(base: str, timeframe: Timeframe, open_ms: int, sections: Sections) -> BarSection:
    """Every venue's market of this base, as of the end of a closed bar."""
    found = [
        _bar_market(market, timeframe, open_ms)
        for market in primary_markets(sections.of(base).markets)
    ]  # fmt: skip
    markets = tuple(of for of in found if of is not None)
    return BarSection(base, str(timeframe), timeframe.ms, open_ms, markets)


def _bar_market(market: Market, timeframe: Timeframe, open_ms: int) -> BarMarket | None:
    candles = window.newest(market.leg.exchange, market.leg.symbol, timeframe, LOAD_BARS)
    known = [candle for candle in candles if candle.open_ms <= open_ms]
    if not known:
        return None
    bars = Bars.from_candles(known)
    line = macdv.lines(bars).macdv
    newest = zip(bars.open_ms[-BARS_BACK:], line[-BARS_BACK:], strict=True)
    return BarMarket(
        _as_of(market, known[-1], open_ms + timeframe.ms),
        {at: value for at, value in newest if value is not None},
        is_converged=sum(reason is None for reason in bars.reasons) >= CONVERGED_BARS,
        is_tainted=Reason.OUTAGE in bars.reasons[-BARS_BACK:],
    )


def _as_of(market: Market, candle: Candle, end_ms: int) -> Market:
    """At the bar's close; its low and high are what a local price went through."""
    leg = replace(
        market.leg, price=candle.close, event_ms=end_ms, received_ms=end_ms, bid=None, ask=None, batch="",
    )  # fmt: skip
    extremes = (end_ms - 2, float(candle.low)), (end_ms - 1, float(candle.high))
    return replace(market, leg=leg, trail=extremes if candle.open_ms + candle.timeframe.ms == end_ms else ())


def closes(base: str, from_ms: int, to_ms: int, sections: Sections) -> dict[str, Closes]:
    """By market: what its 5m candles closed at, in dollars, where somebody traded and the quote's worth is known."""
    worth = _worths(from_ms, to_ms, sections)
    found: dict[str, Closes] = {}
    for exchange, name, unit, candles in _candles(base, from_ms, to_ms, sections):
        worths = worth.get(unit, {})
        found[f"{exchange}:{name}"] = {
            c.open_ms: float(c.close) * (1.0 if unit == USD else worths[c.open_ms])
            for c in candles
            if not c.is_synthetic and (unit == USD or c.open_ms in worths)
        }
    return found


def _worths(from_ms: int, to_ms: int, sections: Sections) -> Mapping[str, Closes]:
    """What each stable coin was worth at each 5m close: the median of its direct markets."""
    worths: dict[str, Closes] = {}
    for coin in STABLES:
        told: dict[int, list[float]] = defaultdict(list)
        for _, _, unit, candles in _candles(coin, from_ms, to_ms, sections):
            for candle in candles:
                rate = 1.0 if unit == USD else worths.get(unit, {}).get(candle.open_ms)
                if rate is not None:
                    told[candle.open_ms].append(float(candle.close) * rate)
        worths[coin] = {open_ms: median(values) for open_ms, values in told.items()}
    return worths


def _candles(
    base: str, from_ms: int, to_ms: int, sections: Sections
) -> Iterator[tuple[str, str, str, list[Candle]]]:
    """Exchange, symbol, the unit of its prices, and its 5m candles, of every market that traded lately."""
    markets = [(exchange, name, sections.unit(exchange, name)) for exchange, name in sections.listed(base)]
    asked = [Span(exchange, name, BASE_TIMEFRAME, from_ms, to_ms) for exchange, name, _ in markets]
    for market, candles in zip(markets, window.spans(asked), strict=True):
        yield *market, candles


def lead_section(base: str, end_ms: int, sections: Sections) -> LeadSection:
    """Every pair of this base over the quarter hour that ends here, from the trades that are still kept."""
    series = [_series(market, end_ms) for market in primary_markets(sections.of(base).markets)]
    return LeadSection(base, end_ms, tuple(measure(one, other) for one, other in combinations(series, 2)))


def _series(market: Market, end_ms: int) -> Series:
    opens = range(end_ms - WINDOW_S * 1_000, end_ms, BUCKET_MS)
    found = ledger.slabs(market.leg.exchange, [Bucket(market.leg.symbol, open_ms) for open_ms in opens])
    offset, by_venue, by_arrival = market.clock.offset_ms, {}, {}
    delays = []
    for slab in sorted((s for slabs in found for s in slabs.values() if s), key=lambda s: s.received_ns):
        rows = sorted(zip(slab.times_ns, slab.prices, strict=True), key=lambda row: row[0])
        for at_ns, price in rows:
            by_venue[at_ns // 1_000_000 - offset] = price
        by_arrival[slab.received_ns // 1_000_000] = rows[-1][1]
        delays.append((slab.received_ns - rows[-1][0]) // 1_000_000 + offset)
    leg = replace(market.leg, event_ms=end_ms + offset, received_ms=end_ms, batch="")
    at_end = replace(market, leg=leg, trail=())
    return Series(at_end, _ticks(by_venue), _ticks(by_arrival), median(delays) if delays else 0.0)


def _ticks(prices: Mapping[int, str]) -> Ticks:
    """Ascending, in log price; at most ten a second, the last of each tenth."""
    points = sorted(prices.items())
    if len(points) > MOST_TICKS:
        points = sorted({at // DENSEST_MS: (at, price) for at, price in points}.values())
    return Ticks([at for at, _ in points], [log(float(price)) for _, price in points])
