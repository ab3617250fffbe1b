"""When one listing trades, at which price and how much; the same for the same seed, however it is asked."""

from __future__ import annotations

import bisect
import math
import random
from collections.abc import Iterator

from exchanges.simulation.listing import Listing, Print
from exchanges.simulation.prices import SECOND_US, Prices
from exchanges.simulation.tape import Tape

HALF_SPREAD = 0.4e-4
COARSE = 8e-4  # from this tick on, relative to the price, a price holds its tick until clearly left
USUAL_QUOTE = 600.0
MOVER_QUOTE = (3_000.0, 20_000.0)


class Flow:
    """The executions of one listing in the order of time."""

    def __init__(self, tape: Tape, prices: Prices, seed: int, origin_us: int, pace: float) -> None:
        self.tape = tape
        self.listing: Listing = tape.listing
        self._prices = prices
        name = f"{seed}|{self.listing.venue}|{self.listing.native}"
        self._random = random.Random(f"{name}|trades")  # noqa: S311 - a market, not a secret
        self._movers = random.Random(f"{name}|movers")  # noqa: S311
        self._rate_per_us = self.listing.trades_per_s * pace / SECOND_US
        self._next_us = origin_us + self._wait_us()
        self._forced: list[tuple[int, bool]] = []
        self._newest_us = origin_us
        self.silent_until_us = 0
        self.skew_us = 0

    @property
    def next_us(self) -> int:
        """When the next print is due."""
        return min(self._next_us, self._forced[0][0]) if self._forced else self._next_us

    def force(self, time_us: int, is_buy: bool) -> None:
        """One more, large print at a time; large enough to count as a move."""
        bisect.insort(self._forced, (time_us, is_buy))

    def until(self, now_us: int) -> Iterator[Print]:
        """Trade up to a moment (inclusive)."""
        while (time_us := self.next_us) <= now_us:
            if self._forced and self._forced[0][0] == time_us:
                _, is_buy = self._forced.pop(0)
                quote = self._movers.uniform(*MOVER_QUOTE)
                if time_us >= self.silent_until_us:
                    yield self._trade(time_us, is_buy, quote, 1, self._movers)
                continue
            self._next_us += self._wait_us()
            usual = self._choose(self._random)
            if time_us >= self.silent_until_us:
                yield self._trade(time_us, *usual, self._random)

    def trade_now(self, time_us: int, rng: random.Random) -> Print:
        """Trade once, at this moment, on top of the usual pace and without changing it."""
        return self._trade(time_us, *self._choose(rng), rng)

    def _trade(self, time_us: int, is_buy: bool, quote: float, count: int, rng: random.Random) -> Print:
        """Record one print at the venue's price of the moment, by the venue's clock; times never run backwards."""
        listing = self.listing
        step_us = listing.time_step_us
        time_us = max(time_us + self.skew_us, self._newest_us) // step_us * step_us
        self._newest_us = max(time_us, self._newest_us)
        price = self._price(time_us - self.skew_us, is_buy)
        lot = listing.lot_units
        worth = price / 10**listing.price_places
        lots = max(count, int(quote / worth * 10**listing.lot_places) // lot)
        if count > 1 and listing.alike and rng.random() < listing.alike:
            return self.tape.append(time_us, price, (lots // count * lot,) * count, is_buy)
        return self.tape.append(time_us, price, _parts(lots, count, lot, rng), is_buy)

    def _choose(self, rng: random.Random) -> tuple[bool, float, int]:
        is_buy = rng.random() < 0.5
        quote = USUAL_QUOTE * math.exp(rng.gauss(0.0, 0.9))
        count = rng.randint(2, 4) if rng.random() < self.listing.bundled else 1
        return is_buy, quote, count

    def _price(self, time_us: int, is_buy: bool) -> int:
        listing = self.listing
        step = listing.tick_units
        middle = self._prices.price(listing.venue, listing.asset, listing.quote, time_us)
        units: float = middle * 10**listing.price_places
        if step / units > COARSE:
            last = self.tape.last_price
            return last if last and abs(units - last) < 0.8 * step else max(step, round(units / step) * step)
        units *= 1 + HALF_SPREAD if is_buy else 1 - HALF_SPREAD
        return max(step, round(units / step) * step)

    def _wait_us(self) -> int:
        return 1 + int(self._random.expovariate(self._rate_per_us))


def _parts(lots: int, count: int, lot: int, rng: random.Random) -> tuple[int, ...]:
    """`lots` in `count` executions of at least one lot each, in units."""
    if count == 1:
        return (lots * lot,)
    cuts = sorted(rng.sample(range(1, lots), count - 1)) if lots > count else list(range(1, count))
    return tuple((b - a) * lot for a, b in zip([0, *cuts], [*cuts, lots], strict=True))
