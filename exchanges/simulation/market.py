"""The generated market: what every simulated venue trades, a function of the seed, the start and the
scripted moves; it knows no clock and no socket."""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Sequence
from decimal import Decimal

from exchanges.simulation.flow import Flow
from exchanges.simulation.history import History, NoPast
from exchanges.simulation.listing import BUCKET_MS, Bar, Listing, Print, fixed
from exchanges.simulation.prices import ANCHORS_USD, DOLLARS, SECOND_US, TETHER, Move, Prices
from exchanges.simulation.tape import Tape
from livermore.core.candle import Kline
from livermore.core.errors import InvalidInput
from livermore.core.trade import Trade

PREHISTORY_MS = 2 * BUCKET_MS
FIRST_ID_S = 1_577_836_800
SLICE_US = 60 * SECOND_US
FIRST_EPISODE_S = 25
EPISODE_EVERY_S = 40
EARLY_EPISODE_EVERY_S = 15
EARLY_S = 150
"""Whoever has just started everything should see a signal soon, whenever streaming became warm."""
EPISODE_BPS = (42.0, 75.0)
FOLLOWERS_LAG_S = (12.5, 19.0)
MOVERS = 9
LIVELY_PER_S = 0.05
COARSE = 20e-4
FOR_EVER_S = 1e9

Produced = list[tuple[Tape, Print]]


class Market:
    """All listings of all venues.

    Trades exist from two full 5m buckets before `start_ms` on. `leader` is the venue that moves first in
    the episodes; without one, or with one venue only, there are none. `pace` multiplies the number of
    trades. `gone` are the (venue, native) that have another name by now.
    """

    def __init__(
        self,
        listings: Sequence[Listing],
        *,
        seed: int,
        start_ms: int,
        leader: str | None = None,
        pace: float = 1.0,
    ) -> None:
        self.start_us = start_ms * 1000
        self.origin_ms = start_ms // BUCKET_MS * BUCKET_MS - PREHISTORY_MS
        self.now_us = self.origin_ms * 1000
        self.listings = tuple(listings)
        self.leader = leader
        self._seed = seed
        self._pace = pace
        self._prices = Prices(seed, self.now_us)
        self._began_with = self.listings
        self.gone: set[tuple[str, str]] = set()
        self._flows = {(x.venue, x.native): self._flow(x) for x in self.listings}
        self._episode = 0
        self._skews_us: dict[str, int] = {}
        self._next_episode_us = self.start_us + FIRST_EPISODE_S * SECOND_US
        self.has_episodes = leader is not None
        self.advance(self.start_us)

    def _flow(self, listing: Listing) -> Flow:
        origin_us = self.origin_ms * 1000
        middle = self._prices.price(listing.venue, listing.asset, listing.quote, origin_us)
        step = listing.tick_units
        joint = max(step, round(middle * 10**listing.price_places / step) * step)
        tape = Tape(listing, History(listing, self._seed, self.origin_ms, joint), self._first_id(listing))
        return Flow(tape, self._prices, self._seed, origin_us, self._pace)

    def _first_id(self, listing: Listing) -> int:
        """More ids than were given out since 2020 come before, so that a market begun later has later ids."""
        rng = random.Random(f"{self._seed}|{listing.venue}|{listing.native}|ids")  # noqa: S311
        before = (self.origin_ms // 1000 - FIRST_ID_S) * math.ceil(10 * listing.trades_per_s * self._pace)
        return rng.randrange(10**7, 10**8) + before

    @property
    def identity(self) -> tuple[object, ...]:
        """What makes it this market and no other; the moment it began at is not part of it."""
        return self._seed, self._pace, self.leader, self._began_with

    def forget(self, before_us: int) -> None:
        """Drop earlier trades; their candles stay."""
        for flow in self._flows.values():
            flow.tape.forget(before_us)

    def resume(self, now_us: int) -> None:
        """Trade on until `now_us`, which becomes the start; episodes begin after it."""
        had_episodes, self.has_episodes = self.has_episodes, False
        self.advance(now_us)
        self.has_episodes = had_episodes
        self.start_us = now_us
        self._next_episode_us = now_us + FIRST_EPISODE_S * SECOND_US

    # ---- time --------------------------------------------------------------------------------

    @property
    def next_us(self) -> int:
        """When the next print is due."""
        return min(flow.next_us for flow in self._flows.values())

    def advance(self, now_us: int) -> Produced:
        """Everything traded since, per listing in the order of time."""
        produced: Produced = []
        while self.now_us < now_us:
            self.now_us = min(now_us, self.now_us + SLICE_US, max(self._next_episode_us, self.now_us + 1))
            for flow in self._flows.values():
                produced.extend((flow.tape, new) for new in flow.until(self.now_us))
                flow.tape.trim(self.now_us)
            self._prices.settle(self.now_us - SLICE_US)
            if self.now_us >= self._next_episode_us:
                self._begin_episode()
        return produced

    def burst(self, count: int, span_us: int, venues: Collection[str] = ()) -> Produced:
        """`count` prints more, spread over the next `span_us` and over the (named) venues' listings."""
        flows = [f for f in self._flows.values() if not venues or f.listing.venue in venues]
        rng = random.Random(f"{self._seed}|burst|{self.now_us}")  # noqa: S311
        weights = [f.listing.trades_per_s for f in flows]
        start_us = self.now_us
        produced: Produced = []
        for i in range(count):
            due_us = start_us + (i + 1) * span_us // count
            if due_us - self.now_us > SECOND_US:
                produced += self.advance(due_us)
            flow = rng.choices(flows, weights)[0]
            produced.append((flow.tape, flow.trade_now(due_us, rng)))
        return produced + self.advance(start_us + span_us)

    # ---- scripts -----------------------------------------------------------------------------

    def move(
        self,
        base: str,
        bps: float,
        *,
        at_us: int | None = None,
        over_s: float = 3.0,
        lags_s: dict[str, float] | None = None,
    ) -> None:
        """Move an asset by `bps` within `over_s`, at each named venue after its lag ("*": the others).

        Unnamed venues never move. Each venue marks the move with several large trades.
        """
        at_us = max(self.now_us, self.now_us if at_us is None else at_us)
        asset = next((x.asset for x in self.listings if x.base == base), base)
        lags_s = lags_s if lags_s is not None else {"*": 0.0}
        starts = {}
        for venue in {x.venue for x in self.listings}:
            lag = lags_s.get(venue, lags_s.get("*"))
            if lag is not None:
                starts[venue] = at_us + int(lag * SECOND_US)
        span_us = int(over_s * SECOND_US)
        self._prices.add(Move(asset, bps, max(1, span_us), starts))
        for flow in self._flows.values():
            listing = flow.listing
            if listing.asset == asset and listing.venue in starts:
                for i in range(1, MOVERS + 1):
                    flow.force(starts[listing.venue] + span_us * i // (MOVERS - 2), bps > 0)

    def silence(self, venue: str, base: str, for_s: float) -> None:
        """No trade of an asset at a venue for a while; 0 ends it."""
        for flow in self._flows.values():
            if flow.listing.venue == venue and flow.listing.base == base:
                flow.silent_until_us = self.now_us + int(for_s * SECOND_US)

    def rename(self, venue: str, base: str, to: str) -> None:
        """A venue's markets of `base` end, and new ones of `to` go on at the same price, without a past.

        Raises `InvalidInput` where the venue has none of the one, or has the other.
        """
        old = [x for x in self.listings if x.venue == venue and x.base == base and (venue, x.native) not in self.gone]
        if not old or any(x.venue == venue and x.base == to for x in self.listings):
            raise InvalidInput(f"{venue} must list {base} and must never have listed {to}")
        for listing in old:
            new, former = listing.renamed(to), self._flows[venue, listing.native]
            tape = Tape(new, NoPast(self.now_us // 1000 // BUCKET_MS * BUCKET_MS), self._first_id(new))
            tape.last_price = former.tape.last_price
            flow = Flow(tape, self._prices, self._seed, self.now_us, self._pace)
            flow.skew_us, flow.silent_until_us = former.skew_us, former.silent_until_us
            self._flows[venue, new.native] = flow
            self.gone.add((venue, listing.native))
            self.listings += (new,)
        self.silence(venue, base, FOR_EVER_S)

    def skew(self, venue: str, by_s: float) -> None:
        """From now on a venue's clock, and so the time of its trades, is ahead by so much (or behind, below 0)."""
        self._skews_us[venue] = int(by_s * SECOND_US)
        for flow in self._flows.values():
            if flow.listing.venue == venue:
                flow.skew_us = self._skews_us[venue]

    def skew_us(self, venue: str) -> int:
        """How far a venue's clock is ahead."""
        return self._skews_us.get(venue, 0)

    def _begin_episode(self) -> None:
        """Time stops exactly here, however it is cut, so that an episode begins at its moment."""
        at_us = self._next_episode_us
        is_early = at_us - self.start_us < EARLY_S * SECOND_US
        self._next_episode_us += (EARLY_EPISODE_EVERY_S if is_early else EPISODE_EVERY_S) * SECOND_US
        bases = self._movable()
        if not self.has_episodes or not bases:
            return
        rng = random.Random(f"{self._seed}|episode|{self._episode}")  # noqa: S311
        cycle, index = divmod(self._episode, len(bases))
        self._episode += 1
        sign = 1 if (cycle + index) % 2 == 0 else -1
        lags = {v: rng.uniform(*FOLLOWERS_LAG_S) for v in sorted({x.venue for x in self.listings})}
        lags[self.leader or ""] = 0.0
        self.move(bases[index], sign * rng.uniform(*EPISODE_BPS), at_us=at_us, lags_s=lags)

    def _movable(self) -> list[str]:
        def bases(is_leader: bool) -> dict[str, None]:
            return {
                x.asset: None
                for x in self.listings
                if (x.venue == self.leader) is is_leader and x.trades_per_s >= LIVELY_PER_S
            }

        others = bases(False)
        coarse = {x.asset for x in self.listings if float(x.tick) > COARSE * ANCHORS_USD.get(x.asset, 1.0)}
        return [b for b in bases(True) if b in others and b not in DOLLARS | {TETHER} | coarse]

    # ---- answers -----------------------------------------------------------------------------

    def tape(self, venue: str, native: str) -> Tape:
        """The record of one listing; KeyError for an unknown one."""
        return self._flows[venue, native].tape

    def trades(self, venue: str, native: str) -> list[Trade]:
        """The oracle: every single execution still kept, oldest first."""
        tape = self.tape(venue, native)
        x = tape.listing
        found = []
        for p in tape.prints:
            price = fixed(p.price, x.price_places)
            for i, part in enumerate(p.parts):
                quantity = fixed(part, x.lot_places)
                found.append(Trade(x.symbol, p.time_us * 1000, p.first + i, 1, price, quantity, p.is_buy))
        return found

    def truth(self, venue: str, native: str, open_ms: int, length_ms: int = BUCKET_MS) -> Kline:
        """The oracle: the candle of the trades generated, as the venue's own kline must say it."""
        tape = self.tape(venue, native)
        bar = next(tape.bars(length_ms, open_ms, open_ms, max(open_ms, self.now_us // 1000)))
        return kline(tape.listing, bar)


def kline(listing: Listing, bar: Bar) -> Kline:
    """A bar of whole units as exact decimals."""

    def price(units: int) -> Decimal:
        return Decimal(units).scaleb(-listing.price_places)

    return Kline(
        bar.open_ms,
        price(bar.open),
        price(bar.high),
        price(bar.low),
        price(bar.close),
        Decimal(bar.volume).scaleb(-listing.lot_places),
        Decimal(bar.turnover).scaleb(-listing.quote_places),
        bar.trades,
        Decimal(bar.buy_volume).scaleb(-listing.lot_places),
    )
