"""What a simulated venue lists, and the whole numbers in which its trades and candles are counted."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import NamedTuple

BUCKET_MS = 300_000
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Listing:
    """One market of one simulated venue.

    `tick` and `lot` are the venue's steps as decimal text. `trades_per_s` is its usual pace, at most one
    trade in minutes for a thin market. `bundled` is the share of prints that consist of several executions
    under one aggregate id, `alike` the share of these whose executions are equally large. Each trade's quote
    amount is cut to `quote_places` decimals. Match times are multiples of `time_step_us`. `asset` is what has a
    price: the base, or what it was called before.
    """

    venue: str
    native: str
    base: str
    quote: str
    tick: str
    lot: str
    trades_per_s: float
    bundled: float = 0.0
    alike: float = 0.0
    quote_places: int = 8
    time_step_us: int = 1000
    asset: str = ""
    price_places: int = field(init=False)
    lot_places: int = field(init=False)
    tick_units: int = field(init=False)
    lot_units: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "asset", self.asset or self.base)
        for places, units, text in (
            ("price_places", "tick_units", self.tick),
            ("lot_places", "lot_units", self.lot),
        ):
            number = Decimal(text)
            decimals = max(0, -int(number.as_tuple().exponent))
            object.__setattr__(self, places, decimals)
            object.__setattr__(self, units, int(number.scaleb(decimals)))

    @property
    def symbol(self) -> str:
        """The canonical name."""
        return f"{self.base}-{self.quote}"

    def renamed(self, base: str) -> Listing:
        """The same market under another base; natives begin with the base."""
        return replace(self, native=base + self.native.removeprefix(self.base), base=base)

    def quote_amount(self, price: int, quantity: int) -> int:
        """Price times quantity in units of the quote, cut (not rounded) to `quote_places`."""
        surplus = self.price_places + self.lot_places - self.quote_places
        product = price * quantity
        return product // int(10**surplus) if surplus > 0 else product * int(10**-surplus)


class Print(NamedTuple):
    """One taker order's executions at one price: ids `first … last`, `quantity` the sum of `parts`.

    `id` numbers prints without holes. Price and quantities are whole units of the listing.
    """

    id: int
    first: int
    last: int
    time_us: int
    price: int
    quantity: int
    is_buy: bool
    parts: tuple[int, ...]


@dataclass(slots=True)
class Bar:
    """The fold of the prints of `[open_ms, open_ms + length)`; prices, volumes and turnovers in units."""

    open_ms: int
    open: int
    high: int
    low: int
    close: int
    volume: int = 0
    turnover: int = 0
    trades: int = 0
    buy_volume: int = 0
    buy_turnover: int = 0
    first: int = -1
    last: int = -1

    def absorb(self, other: Bar) -> None:
        """Append a later bar that has trades."""
        self.high, self.low, self.close = max(self.high, other.high), min(self.low, other.low), other.close
        self.volume += other.volume
        self.turnover += other.turnover
        self.trades += other.trades
        self.buy_volume += other.buy_volume
        self.buy_turnover += other.buy_turnover
        self.first = other.first if self.first < 0 else self.first
        self.last = max(self.last, other.last)


def fold(open_ms: int, bars: list[Bar], previous: int) -> Bar:
    """One bar out of consecutive smaller ones; flat at `previous` when none has trades."""
    lively = [b for b in bars if b.trades]
    if not lively:
        return Bar(open_ms, previous, previous, previous, previous)
    head = lively[0]
    whole = Bar(open_ms, head.open, head.high, head.low, head.close)
    for bar in lively:
        whole.absorb(bar)
    return whole


def fixed(units: int, places: int, shown: int | None = None) -> str:
    """Units of `10^-places` as decimal text with `shown` decimals (all of them by default)."""
    if shown is not None and shown > places:
        units, places = units * 10 ** (shown - places), shown
    if not places:
        return str(units)
    whole, part = divmod(units, 10**places)
    return f"{whole}.{part:0{places}d}"


def trimmed(units: int, places: int) -> str:
    """The same without trailing zeros, as venues write that trim them."""
    text = fixed(units, places)
    return text.rstrip("0").rstrip(".") if "." in text else text
