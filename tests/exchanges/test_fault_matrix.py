"""Every fault at every venue: found in time, healed, and either nothing is missing or a gap confesses it.

One market serves all venues at once and each has a stream of its own, so a fault befalls all five together. What is
missing is told by volume: what the venue traded at a price in a millisecond, and what the stream published of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from decimal import Decimal

import pytest

from exchanges import registry
from exchanges.simulation.stage import Options
from livermore.core.gap import Cause
from livermore.core.symbol import SymbolBook
from tests.support.simulation import Running, simulated
from tests.support.streaming import Streamed, streamed
from tests.support.waiting import until

VENUES = ("binance", "binance_us", "coinbase", "kucoin", "mexc")
BASES = ("BTC", "ETH", "SOL")
PATIENCE_S = 3.0
HEALED_S = 40 / 15 * PATIENCE_S
"""S2: 40 s with a patience of 15 s."""

Cell = tuple[str, int, int]  # native, ms, price in the listing's units


class Watched:
    """One venue's stream, and what of its market has not arrived."""

    def __init__(self, sim: Running, slug: str, run: Streamed) -> None:
        self.sim, self.slug, self.run = sim, slug, run
        self._listings = {x.native: x for x in sim.simulation.market.listings if x.venue == slug}
        self._since_us = self._settled_ms = 0

    def begin(self) -> None:
        """From here on everything counts."""
        self._since_us = self.now_us() + 1

    def has_passed_its_beginning(self) -> bool:
        """Is the venue's clock past the moment from which everything counts, even where it was set back?"""
        return self.now_us() > self._since_us

    def now_us(self) -> int:
        """The venue's clock."""
        return self.sim.call(lambda: self.sim.simulation.servers[self.slug].stage.now_us())

    def traded(self) -> Counter[Cell]:
        """Volume by cell, in the listing's units."""

        def look() -> Counter[Cell]:
            found: Counter[Cell] = Counter()
            for native in self.run.natives:
                tape = self.sim.simulation.market.tape(self.slug, native)
                for p in tape.prints[tape.at_time(self._since_us) :]:
                    found[native, p.time_us // 1000, p.price] += p.quantity
            return found

        return self.sim.call(look)

    def heard(self) -> Counter[Cell]:
        """The same of what was published; a trade that came twice counts once."""
        seen: set[object] = set()
        found: Counter[Cell] = Counter()
        book = SymbolBook(self.slug, {n: n for n in self.run.natives}, 1)
        for batch in list(self.run.batches):
            for trade in registry.venue(self.slug).mapper(batch.frames, book).trades:
                if trade.id and (trade.symbol, trade.id) in seen:
                    continue
                seen.add((trade.symbol, trade.id))
                x = self._listings[trade.symbol]
                price, quantity = Decimal(trade.price), Decimal(trade.quantity)
                cell = trade.symbol, trade.time_ns // 1_000_000, int(price.scaleb(x.price_places))
                found[cell] += int(quantity.scaleb(x.lot_places))
        return found

    def is_heard_anew(self, base: str) -> bool:
        """Did the newest connection bring a trade of this asset?"""
        newest = list(self.run.numbers())[-1]
        book = SymbolBook(self.slug, {n: n for n in self.run.natives}, 1)
        frames = [f for b in list(self.run.batches) if b.connection == newest for f in b.frames]
        return any(self._listings[t.symbol].base == base for t in registry.venue(self.slug).mapper(frames, book).trades)

    def missing(self) -> list[Cell]:
        """What was traded before the last `settle` and was not heard."""
        traded, heard = self.traded(), self.heard()
        return [cell for cell, volume in traded.items() if cell[1] < self._settled_ms and heard[cell] < volume]

    def unconfessed(self) -> list[Cell]:
        """What of that no gap covers."""
        return [c for c in self.missing() if not self.run.is_covered(c[0], c[1] * 1_000_000)]

    def settle(self, within_s: float = HEALED_S) -> None:
        """All that was traded before this call is published or confessed, soon."""
        self._settled_ms = self.now_us() // 1000
        until(
            lambda: not self.unconfessed(),
            within_s=within_s,
            why=lambda: f"{self.slug}: {self.unconfessed()[:5]} not covered by {self.run.gaps}",
        )


@contextmanager
def all_venues(*, pace: float = 5.0, lifetime_s: float | None = None, **options: object) -> Iterator[list[Watched]]:
    """Every venue streaming its three busiest symbols."""
    venue_options = Options(lifetime_s=lifetime_s * 1.25 if lifetime_s else None)
    with ExitStack() as held:
        sim = held.enter_context(simulated(*VENUES, pace=pace, options=venue_options, has_episodes=False))
        watched = []
        for slug in VENUES:
            listings = [x for x in sim.simulation.market.listings if x.venue == slug and x.base in BASES]
            natives = [x.native for x in listings if x.quote in ("USDT", "USD")][:3]
            run = held.enter_context(
                streamed(sim, slug, natives, patience_s=PATIENCE_S, connection_lifetime_s=lifetime_s, **options)
            )
            watched.append(Watched(sim, slug, run))
        for each in watched:
            each.run.until_state("streaming")
            each.begin()
        burst(watched)
        yield watched


def burst(watched: list[Watched]) -> None:
    """Each of them trades, a hundred times or so."""
    for each in watched:
        each.run.burst(100)


def strike(watched: list[Watched], kind: str, **options: object) -> None:
    """The fault befalls all."""
    for each in watched:
        each.sim.fault(each.slug, kind, **options)


def by_venue(watched: list[Watched], told: Callable[[Watched], object]) -> dict[str, object]:
    return {each.slug: told(each) for each in watched}


def test_nothing_is_missing_without_a_fault():
    with all_venues() as watched:
        burst(watched)
        for each in watched:
            each.settle()
        assert by_venue(watched, lambda w: w.missing()) == by_venue(watched, lambda w: [])
        assert by_venue(watched, lambda w: [g.cause for g in w.run.gaps]) == by_venue(watched, lambda w: [Cause.START])
        assert by_venue(watched, lambda w: sum(w.traded().values()) > 0) == by_venue(watched, lambda w: True)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("cut", {"code": 1012}),
        ("abort", {}),
        ("silence", {"for_s": 60.0}),
    ],
)
def test_a_connection_that_ends_or_falls_silent_is_replaced_and_confessed(kind, options):
    """S1, S3: cut with a close frame, reset without one, half-open."""
    with all_venues(silence_s=3.0) as watched:
        old = by_venue(watched, lambda w: set(w.run.numbers()))
        strike(watched, kind, **options)
        burst(watched)
        for each in watched:
            until(lambda each=each: set(each.run.numbers()) - old[each.slug], within_s=15)
            each.run.until_state("streaming", within_s=15)
        burst(watched)
        for each in watched:
            each.settle()
            assert each.run.gaps_of(Cause.DISCONNECT), each.slug


def test_a_dead_trade_channel_is_found_while_everything_else_goes_on():
    """S2: heartbeats, pings and pongs flow; only trades are gone."""
    with all_venues() as watched:
        strike(watched, "drop", count=1_000_000)
        burst(watched)
        for each in watched:
            until(lambda each=each: each.run.gaps_of(Cause.DISCONNECT) or each.run.state == "degraded", within_s=30)
        for each in watched:
            until(lambda each=each: each.run.gaps_of(Cause.DISCONNECT), within_s=2 * HEALED_S)
            each.settle(within_s=2 * HEALED_S)
            assert each.missing(), each.slug


@pytest.mark.parametrize(
    ("kind", "options"),
    [("duplicate", {"count": 30}), ("reorder", {"count": 10}), ("late", {"count": 20, "for_s": 2.0})],
)
def test_frames_twice_out_of_order_or_late_lose_nothing(kind, options):
    with all_venues() as watched:
        strike(watched, kind, **options)
        burst(watched)
        for each in watched:
            each.settle()
            until(lambda each=each: not each.missing(), within_s=HEALED_S)
            assert each.run.stream.snapshot().errors == 0, each.slug
            assert {g.cause for g in each.run.gaps} <= {Cause.START, Cause.SEQUENCE}, each.slug


@pytest.mark.parametrize("kind", ["malformed", "unknown_symbol", "huge_number", "binary"])
def test_nonsense_costs_one_frame(kind):
    with all_venues() as watched:
        strike(watched, kind)
        burst(watched)
        for each in watched:
            each.settle()
            assert (each.run.state, each.run.stream.snapshot().errors) == ("streaming", 0), each.slug


@pytest.mark.parametrize("status", [403, 429, 451, 503])
def test_a_refused_handshake_is_waited_for_or_final(status):
    """S17: 451 is a state for a human; anything else is tried again, and the reason says what the venue said."""
    with all_venues() as watched:
        strike(watched, "handshake", status=status, for_s=60.0)
        strike(watched, "abort")
        for each in watched:
            until(lambda each=each: str(status) in each.run.stream.snapshot().reason)
            assert each.run.state == ("refused" if status == 451 else "backing_off"), each.slug


def test_a_shutdown_notice_or_an_end_without_one_costs_nothing_unconfessed():
    with all_venues() as watched:
        strike(watched, "shutdown")
        burst(watched)
        for each in watched:
            until(lambda each=each: len(each.run.numbers()) >= 2, within_s=15)
            each.run.until_state("streaming", within_s=15)
        burst(watched)
        for each in watched:
            each.settle()
            if each.slug.startswith("binance"):  # the notice comes before the end
                until(lambda each=each: not each.missing())


def test_connections_are_replaced_before_the_venue_ends_them():
    """M6, S4: nothing is missing where ids allow an overlap; elsewhere the break is confessed."""
    with all_venues(lifetime_s=8.0) as watched:
        for each in watched:
            until(lambda each=each: len(each.run.numbers()) >= 2, within_s=15)
            each.run.until_state("streaming")
        burst(watched)
        for each in watched:
            each.settle()
            assert each.run.stream.snapshot().errors == 0, each.slug


def test_a_clock_that_is_wrong_changes_no_bucket():
    """Each venue's time decides, whatever ours says: trades three seconds ahead or behind all arrive."""
    with all_venues() as watched:
        for number, each in enumerate(watched):
            each.sim.call(each.sim.simulation.market.skew, each.slug, 3.0 if number % 2 else -3.0)
        burst(watched)
        for each in watched:
            until(lambda each=each: each.has_passed_its_beginning())
        burst(watched)
        for each in watched:
            each.settle()
            assert each.missing() == [], each.slug
            assert sum(each.traded().values()) > 0


def test_tokens_that_do_not_admit_are_replaced():
    """M66: three times no token, then one that is refused, then a good one."""
    with simulated("kucoin", pace=5) as sim, streamed(sim, "kucoin", ["BTC-USDT"]) as run:
        run.until_state("streaming")
        sim.fault("kucoin", "rest_status", status=500, count=3, path="bullet")
        sim.fault("kucoin", "token")
        sim.fault("kucoin", "abort")
        until(lambda: run.stream.snapshot().errors >= 5, within_s=60)
        run.until_state("streaming", within_s=30)


def test_a_renamed_field_costs_the_frames_that_have_it_and_no_other():
    """S22 at the wire: the frames arrive, the mapper sets aside those of one symbol and names the field."""
    with simulated("binance", pace=5) as sim, streamed(sim, "binance", ["BTCUSDT", "ETHUSDT"]) as run:
        run.until_state("streaming")
        sim.fault("binance", "drift", field="p", to="px", about="ETHUSDT")
        began = len(run.batches)
        run.burst(200)
        book = SymbolBook("binance", {"BTCUSDT": "BTCUSDT", "ETHUSDT": "ETHUSDT"}, 1)

        def mapped() -> tuple[set[str], set[str]]:
            found = [run.venue.mapper(b.frames, book) for b in list(run.batches)[began:]]
            return {t.symbol for m in found for t in m.trades}, {why for m in found for _, why in m.rejected}

        until(lambda: mapped()[1] and "BTCUSDT" in mapped()[0])
        assert any("p" in why for why in mapped()[1])
        assert run.stream.snapshot().errors == 0


def test_a_delisted_symbol_stays_silent_and_takes_nobody_down():
    with all_venues() as watched:
        for each in watched:
            each.sim.call(each.sim.simulation.delist, each.slug, "ETH")
        strike(watched, "abort")  # so that they subscribe to what does not exist any more
        for each in watched:
            until(lambda each=each: len(each.run.numbers()) >= 2 and each.is_heard_anew("BTC"), within_s=30)
            assert each.run.stream.snapshot().errors == 1, each.slug
        for each in watched:
            each.settle(within_s=10 + HEALED_S)  # Coinbase leaves it out of its answer, and is given 10 s for another


def test_a_halted_symbol_is_no_stall():
    """D24: the venue is asked, says that nothing traded, and nobody reconnects or reports anything."""
    with all_venues() as watched:
        for each in watched:
            each.sim.call(each.sim.simulation.halt, each.slug, "ETH")
        asked = by_venue(watched, lambda w: w.run.stream._vigil.probes)
        for each in watched:
            until(lambda each=each: each.run.stream._vigil.probes > asked[each.slug], within_s=30)
        for each in watched:
            each.sim.call(lambda each=each: each.sim.simulation.halt(each.slug, "ETH", is_halted=False))
        burst(watched)
        for each in watched:
            each.settle()
            until(lambda each=each: not each.missing(), within_s=HEALED_S)
            assert (each.run.state, each.run.stream.snapshot().errors) == ("streaming", 0), each.slug
            assert [g.cause for g in each.run.gaps] == [Cause.START], each.slug
