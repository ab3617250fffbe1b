"""A day of each venue, in seconds: the strictest simulator ends nobody, and every candle is the venue's own.

Sessions, mappers and the fold are the real ones; only the wire is memory and only the clock is made. What `Stream`
does with a `Rotate` is done here in its order (`tests/exchanges/test_stream.py` proves that over sockets).
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest

from candles.fold import fold
from candles.slab import Slab, group
from exchanges import registry
from exchanges.batching import Batcher
from exchanges.seeds import EXCHANGES
from exchanges.simulation.listing import Listing
from exchanges.simulator import load
from exchanges.venue import KEEP, Close, Keep, Limits, Ready, Refused, Rotate, Send, Session, TradeIds
from livermore.core.candle import BUCKET_MS, BUCKET_NS
from livermore.core.symbol import SymbolBook
from livermore.core.trade import Nanos
from tests.support.virtual_venue import START_MS, VirtualSocket, VirtualVenue

DAY_S = 86_400
RUN_S = DAY_S + 2 * 3600
"""Past the end that the venue would put to the first connection."""
STEP_US = 500_000
FINE_US = 100_000
"""While a connection is young or old: as often as a stream ticks."""
YOUNG_NS = 10_000_000_000
OVERLAP_NS = 1_500_000_000
MARGIN_NS = 5_000_000_000
FOLLOWED = ("BTC", "ETH", "DOGE", "NMR")
FIELDS = ("open", "high", "low", "close", "volume", "taker_buy_volume", "trades")
PACE = {"binance_us": 1.0}
"""Of the usual number of trades; Binance.US has few as it is."""


@dataclass(eq=False)
class Client:
    """One connection of the client's."""

    socket: VirtualSocket
    session: Session
    batcher: Batcher
    ready_ns: int = 0
    is_leaving: bool = False


@dataclass
class Day:
    """What a client made of a day."""

    world: VirtualVenue
    clients: list[Client] = field(default_factory=list)
    slabs: dict[tuple[str, int], dict[str, Slab]] = field(default_factory=dict)
    gaps: list[tuple[int, int]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    first_ready_ns: int = 0


def live(slug: str) -> Day:
    """Stream for a day and two hours."""
    seed = EXCHANGES[slug]
    natives = [x.native for x in followed(slug)]
    day = Day(VirtualVenue(slug, natives, pace=PACE.get(slug, 0.1)))
    pace, life_s = float(seed["messages_per_second"]), seed["connection_lifetime_s"]
    limits = Limits(seed["topics_per_connection"], pace, life_s, seed["silence_s"])
    run = _Run(slug, limits, natives, day)
    run.connect()
    end_us = (START_MS + RUN_S * 1000) * 1000
    while day.world.now_us < end_us:
        run.step()
    run.finish()
    return day


def followed(slug: str) -> list[Listing]:
    """The followed listings of a venue: busy ones and one that trades once in hours."""
    found = {x.base: x for x in load(slug).listings if x.quote in ("USDT", "USD")}
    return [found[base] for base in FOLLOWED if base in found]


class _Run:
    """The client's side, step by step."""

    def __init__(self, slug: str, limits: Limits, natives: list[str], day: Day) -> None:
        self._venue, self._limits, self._natives, self._day = registry.venue(slug), limits, natives, day
        self._book = SymbolBook(slug, {n: n for n in natives}, 1)
        self._opened_ns = day.world.now_ns
        self._is_rotating = False

    def connect(self) -> None:
        world = self._day.world
        name = f"c{self._day.counts['connections']}"
        self._day.counts["connections"] += 1
        client = Client(
            world.connect(), self._venue.session(self._limits, self._natives), Batcher(self._venue.slug, name, 1)
        )
        self._day.clients.append(client)
        self._opened_ns = world.now_ns
        self._obey(client, client.session.opened(Nanos(world.now_ns)))

    def step(self) -> None:
        world = self._day.world
        is_calm = world.now_ns - self._opened_ns > YOUNG_NS and not self._is_rotating
        world.advance(STEP_US if is_calm else FINE_US)
        now = Nanos(world.now_ns)
        for client in list(self._day.clients):
            while client.socket.inbox:
                payload = client.socket.inbox.popleft()
                events = client.session.received(payload, now)
                if events is KEEP or Keep() in events:
                    client.batcher.add([payload], now)
                    self._day.counts["frames"] += 1
                if events is not KEEP:
                    self._obey(client, events)
            self._obey(client, client.session.tick(now))
            if client.batcher.is_due(now):
                self._ingest(client)
        self._hand_over(now)

    def finish(self) -> None:
        for client in self._day.clients:
            self._ingest(client)

    def _obey(self, client: Client, events: Any) -> None:
        for event in events:
            match event:
                case Send(text):
                    self._day.counts["sent"] += 1
                    self._day.world.receive(client.socket, text)
                case Ready():
                    client.ready_ns = self._day.world.now_ns
                    self._day.first_ready_ns = self._day.first_ready_ns or client.ready_ns
                case Rotate():
                    self._day.counts["rotations"] += 1
                    self._is_rotating = True
                    if self._venue.trade_ids is TradeIds.ABSENT:
                        self._leave(client)
                    self.connect()
                case Close(why) | Refused(_, why):
                    self._day.counts[f"trouble: {why}"] += 1
                case _:
                    pass

    def _hand_over(self, now: int) -> None:
        clients = self._day.clients
        if not self._is_rotating or not clients[-1].ready_ns:
            return
        if len(clients) == 1:  # the old one left first: what was traded meanwhile is confessed
            self._day.gaps.append((self._opened_ns - MARGIN_NS, clients[-1].ready_ns + MARGIN_NS))
        elif now - clients[-1].ready_ns <= OVERLAP_NS:
            return
        for old in clients[:-1]:
            self._leave(old)
        self._is_rotating = False

    def _leave(self, client: Client) -> None:
        self._ingest(client)
        self._day.world.leave(client.socket)
        self._day.clients.remove(client)

    def _ingest(self, client: Client) -> None:
        batch = client.batcher.take()
        if batch is None:
            return
        mapped = self._venue.mapper(batch.frames, self._book)
        self._day.counts["rejected"] += len(mapped.rejected)
        self._day.counts["trades"] += len(mapped.trades)
        for key, slab in group(mapped.trades, batch.received_ns).items():
            self._day.slabs.setdefault(key, {})[batch.id] = slab


def differences(slug: str, day: Day) -> tuple[int, list[str]]:
    """How many candles were compared with the venue's truth, and what differed where nothing was confessed."""
    venue, compared, wrong = registry.venue(slug), 0, []
    first_ms = (day.first_ready_ns // BUCKET_NS + 1) * BUCKET_MS
    end_ms = day.world.now_us // 1000 // BUCKET_MS * BUCKET_MS
    for x in day.world.listings:
        step = Decimal(1).scaleb(-x.quote_places) if venue.turnover_cut else None
        for open_ms in range(first_ms, end_ms, BUCKET_MS):
            if any(a < (open_ms + BUCKET_MS) * 1_000_000 and open_ms * 1_000_000 < b for a, b in day.gaps):
                continue
            truth = day.world.market.truth(slug, x.native, open_ms)
            made = fold(day.slabs.get((x.native, open_ms), {}), turnover_step=step)
            compared += 1
            if made is None:
                if truth.trades:
                    wrong.append(f"{x.native} {open_ms}: {truth.trades} trades, none heard")
                continue
            unequal = [name for name in FIELDS if getattr(made, name) != getattr(truth, name)]
            if unequal:
                wrong.append(f"{x.native} {open_ms}: {unequal}")
            # An aggregate tells the sum of its executions only, the kline cuts each (DATA_CONTRACT.md).
            slack = step * made.trades if step is not None else Decimal(0)
            if venue.has_turnover and not 0 <= made.turnover - truth.turnover <= slack:
                wrong.append(f"{x.native} {open_ms}: turnover {made.turnover} instead of {truth.turnover}")
    return compared, wrong


@pytest.mark.parametrize("slug", registry.slugs())
def test_a_day_passes_without_a_kill_and_every_candle_is_the_venues(slug, record_property):
    """B9, S1, M6, M64: 26 hours with the protocol's own periods."""
    began_s = time.monotonic()
    day = live(slug)
    compared, wrong = differences(slug, day)
    record_property("day", f"{slug}: {dict(day.counts)}, {compared} candles in {time.monotonic() - began_s:.0f} s")
    print(f"\n{slug}: {dict(day.counts)}, {compared} candles in {time.monotonic() - began_s:.0f} s")
    assert day.world.kills == []
    assert {name: n for name, n in day.counts.items() if name.startswith("trouble")} == {}
    assert day.counts["rejected"] == 0
    assert wrong == []
    assert compared > 280 * len(day.world.listings)
    if EXCHANGES[slug]["connection_lifetime_s"]:
        assert day.counts["rotations"] == 1
        assert bool(day.gaps) is (registry.venue(slug).trade_ids is TradeIds.ABSENT)
