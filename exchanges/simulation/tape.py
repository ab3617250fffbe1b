"""One listing's record: its newest prints, the candles they fold into, and the past before them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import NamedTuple

from exchanges.simulation.history import Past
from exchanges.simulation.listing import BUCKET_MS, DAY_MS, Bar, Listing, Print, fold

KEPT_US = 2 * 3600 * 1_000_000


class Volume(NamedTuple):
    """What was traded in a span; volume and turnover in the listing's units."""

    volume: int = 0
    turnover: int = 0
    trades: int = 0

    @classmethod
    def of(cls, bars: Iterable[Bar], start: Volume | None = None) -> Volume:
        """The sums over some bars, on top of `start`."""
        volume, turnover, trades = start or (0, 0, 0)
        for bar in bars:
            volume, turnover, trades = volume + bar.volume, turnover + bar.turnover, trades + bar.trades
        return cls(volume, turnover, trades)


class Tape:
    """Prints of the last two hours and every candle since the beginning.

    Prints are appended in the order of their ids and times; what leaves the two hours stays in the candles.
    """

    def __init__(self, listing: Listing, history: Past, first_id: int) -> None:
        self.listing = listing
        self.history = history
        self.prints: list[Print] = []
        self.next_id = first_id
        self.next_print = first_id // 3
        self.last_price = 0
        self._bars: dict[int, Bar] = {}
        self._past_day: tuple[int, Volume] | None = None

    def append(self, time_us: int, price: int, parts: tuple[int, ...], is_buy: bool) -> Print:
        """Record one print; gives it its ids."""
        first = self.next_id
        quantity = sum(parts)
        new = Print(self.next_print, first, first + len(parts) - 1, time_us, price, quantity, is_buy, parts)
        self.prints.append(new)
        self.next_id += len(parts)
        self.next_print += 1
        self.last_price = price
        open_ms = time_us // 1000 // BUCKET_MS * BUCKET_MS
        bar = self._bars.get(open_ms)
        if bar is None:
            bar = self._bars[open_ms] = Bar(open_ms, price, price, price, price, first=first)
        self._count(bar, new)
        return new

    def _count(self, bar: Bar, new: Print) -> None:
        amount = self.listing.quote_amount
        turnover = sum(amount(new.price, part) for part in new.parts)
        bar.high, bar.low, bar.close = max(bar.high, new.price), min(bar.low, new.price), new.price
        bar.volume += new.quantity
        bar.turnover += turnover
        bar.trades += len(new.parts)
        bar.last = new.last
        if new.is_buy:
            bar.buy_volume += new.quantity
            bar.buy_turnover += turnover

    def trim(self, now_us: int) -> None:
        """Drop prints older than two hours."""
        if self.prints and self.prints[0].time_us < now_us - KEPT_US * 11 // 10:
            self.forget(now_us - KEPT_US)

    def forget(self, before_us: int) -> None:
        """Drop earlier prints; their candles stay."""
        del self.prints[: self.at_time(before_us)]

    def at_time(self, time_us: int) -> int:
        """Index of the first kept print at or after a time."""
        return bisect_left(self.prints, time_us, key=attrgetter("time_us"))

    def at_print(self, print_id: int) -> int:
        """Index of the first kept print with at least this id."""
        return bisect_left(self.prints, print_id, key=attrgetter("id"))

    def at_trade(self, trade_id: int) -> int:
        """Index of the first kept print whose last trade has at least this id."""
        return bisect_left(self.prints, trade_id, key=attrgetter("last"))

    def bars(self, length_ms: int, first_ms: int, last_ms: int, now_ms: int) -> Iterator[Bar]:
        """Candles whose open lies in `[first_ms, last_ms]` up to now, oldest first; flat where idle."""
        open_ms = -(-first_ms // length_ms) * length_ms
        previous: int | None = None
        while open_ms <= min(last_ms, now_ms):
            bar = self._bar(length_ms, open_ms, previous)
            if bar is not None:
                previous = bar.close
                yield bar
            open_ms += length_ms

    def volume_24h(self, now_ms: int) -> Volume:
        """Of the buckets that opened in the last 24 hours."""
        newest = now_ms // BUCKET_MS * BUCKET_MS
        if self._past_day is None or self._past_day[0] != newest:
            past = self.bars(BUCKET_MS, newest - DAY_MS + BUCKET_MS, newest - 1, now_ms)
            self._past_day = (newest, Volume.of(past))
        running = self._bars.get(newest)
        return Volume.of([running], self._past_day[1]) if running else self._past_day[1]

    def _bar(self, length_ms: int, open_ms: int, previous: int | None) -> Bar | None:
        joint_ms = self.history.joint_ms
        if open_ms + length_ms <= joint_ms:
            return self.history.bar(length_ms, open_ms)
        parts = []
        for o in range(open_ms, open_ms + length_ms, BUCKET_MS):
            bar = self.history.bar(BUCKET_MS, o) if o < joint_ms else self._bars.get(o)
            if bar is not None:
                parts.append(bar)
        return fold(open_ms, parts, self._close_before(open_ms) if previous is None else previous)

    def _close_before(self, open_ms: int) -> int:
        for o in range(open_ms - BUCKET_MS, self.history.joint_ms - 1, -BUCKET_MS):
            if o in self._bars:
                return self._bars[o].close
        past = self.history.bar(BUCKET_MS, self.history.joint_ms - BUCKET_MS)
        return past.close if past is not None else self.last_price
