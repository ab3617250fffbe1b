"""What the requirements promise of a stream in figures, held against a clock that only moves when told."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import suppress

import pytest
import redis

from exchanges import ratelimit, registry, slot
from exchanges.ratelimit import CONNECT_WINDOW_S, SharedBudget
from exchanges.seeds import EXCHANGES
from exchanges.simulator import load
from exchanges.slot import Slot
from exchanges.venue import Close, Event, Limits, Ready, Refused, Send
from livermore.core.errors import RateLimited, VenueUnavailable
from livermore.core.symbol import SymbolBook
from livermore.core.trade import Nanos
from tests.support.virtual_venue import VirtualVenue

SECOND = 1_000_000_000
OUTAGE_S = 6 * 3600.0
CONSUMERS = 20


class Clock:
    """Stands in for the module `time`: passes only when told."""

    def __init__(self) -> None:
        self.now_ns = 1_790_000_000 * SECOND

    def time_ns(self) -> int:
        return self.now_ns

    def time(self) -> float:
        return self.now_ns / SECOND

    monotonic = time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(slot, "time", made)
    monkeypatch.setattr(ratelimit, "time", made)
    monkeypatch.setattr(slot, "random", random.Random(3))  # `uniform` is all that is used
    return made


def fullest(moments_s: Sequence[float], window_s: float) -> int:
    """The most moments that any window holds, however it lies."""
    ordered = sorted(moments_s)
    return max((bisect_left(ordered, at + window_s) - i for i, at in enumerate(ordered)), default=0)


# ---- S3: back-off ----------------------------------------------------------------------------------


def outage(clock: Clock) -> tuple[list[int], list[float]]:
    """Of consumers cut off in one moment and refused at once for six hours: their attempts, and after how many
    seconds of the venue's return each comes back."""
    began_ns = clock.now_ns
    attempts, returns_s = [], []
    for _ in range(CONSUMERS):
        clock.now_ns, count, one = began_ns, 0, Slot()
        while clock.now_ns - began_ns < OUTAGE_S * SECOND:
            one.wait(VenueUnavailable("cannot connect"))
            clock.now_ns = int(one.retry_at * SECOND)
            count += 1
        attempts.append(count)
        returns_s.append((clock.now_ns - began_ns) / SECOND - OUTAGE_S)
    return attempts, returns_s


def test_six_hours_cost_400_attempts_and_everybody_is_back_within_65_s(clock: Clock) -> None:
    """S3: never in step, never further apart than the cap, never at an end."""
    attempts, returns_s = outage(clock)
    assert max(returns_s) <= 65
    assert fullest(returns_s, 1.0) <= CONSUMERS / 4
    assert max(attempts) <= 400


def test_consumers_cut_off_together_do_not_come_back_together(clock: Clock) -> None:
    """S3: a venue that is away for a minute only."""
    first_s = [slot.Slot().wait(VenueUnavailable("away")) for _ in range(CONSUMERS)]
    assert fullest(first_s, 0.1) < CONSUMERS / 2
    later_s = []
    for _ in range(CONSUMERS):
        one = Slot()
        later_s.append(sum(one.wait(VenueUnavailable("away")) for _ in range(6)))
    assert fullest(later_s, 1.0) <= CONSUMERS / 4


# ---- S9: the pace of control messages --------------------------------------------------------------

CHANGES = 1_000
STEP_US = 50_000
PACES = {  # messages in seconds, as the venues state them
    "binance": (5, 1),
    "binance_us": (5, 1),
    "coinbase": (8, 1),
    "kucoin": (100, 10),
    "mexc": (100, 1),
}


class Wanted:
    """One connection to a strict venue, whose symbols change again and again."""

    def __init__(self, slug: str) -> None:
        seed = EXCHANGES[slug]
        self.natives = [x.native for x in load(slug).listings]
        self.world = VirtualVenue(slug, self.natives, pace=20.0)
        self.wanted = self.natives[:3]
        self.sent_s: list[float] = []
        self.troubles: list[Event] = []
        self.heard: set[str] = set()
        self.is_ready = False
        self._venue = registry.venue(slug)
        self._book = SymbolBook(slug, {n: n for n in self.natives}, 1)
        limits = Limits(seed["topics_per_connection"], float(seed["messages_per_second"]), None, seed["silence_s"])
        self._session = self._venue.session(limits, self.wanted)
        self._socket = self.world.connect()
        self._obey(self._session.opened(Nanos(self.world.now_ns)))

    def follow(self, natives: list[str]) -> None:
        self.wanted = natives
        self._obey(self._session.follow(natives, Nanos(self.world.now_ns)))

    def live(self, for_s: float) -> None:
        end_ns = self.world.now_ns + int(for_s * SECOND)
        while self.world.now_ns < end_ns and not self.world.kills:
            self.world.advance(STEP_US)
            now = Nanos(self.world.now_ns)
            while self._socket.inbox:
                frame = self._socket.inbox.popleft()
                self._obey(self._session.received(frame, now))
                self.heard |= {t.symbol for t in self._venue.mapper([frame], self._book).trades}
            self._obey(self._session.tick(now))

    def _obey(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, Send):
                self.sent_s.append(self.world.clock_s())
                self.world.receive(self._socket, event.text)
            elif isinstance(event, Close | Refused):
                self.troubles.append(event)
            self.is_ready |= isinstance(event, Ready)


def test_every_venue_has_its_pace_tested() -> None:
    assert set(PACES) == set(registry.slugs())


@pytest.mark.parametrize("slug", PACES)
def test_a_thousand_changes_of_tier_break_no_rule_and_end_at_what_is_wanted(slug: str) -> None:
    """S9: the strict simulator ends a connection for one message too many."""
    chance = random.Random(slug)
    run = Wanted(slug)
    run.live(5)
    assert run.is_ready
    for _ in range(CHANGES):
        run.follow(chance.sample(run.natives, chance.randint(1, len(run.natives) - 1)))
        run.live(chance.choice((0, 0.05, 0.1, 0.5)))
    assert (run.world.kills, run.troubles) == ([], [])
    most, window_s = PACES[slug]
    assert fullest(run.sent_s, window_s) <= most
    assert len(run.sent_s) > 100, "the changes were said, not saved up"
    run.live(15)
    run.heard.clear()
    run.live(60)
    assert run.heard == set(run.wanted)
    assert (run.world.kills, run.troubles) == ([], [])


# ---- S10: attempts to connect ----------------------------------------------------------------------

CONSUMERS_IN_A_LOOP = 10


def test_ten_consumers_in_a_crash_loop_share_300_connects_in_five_minutes(
    clock: Clock, redis_state: redis.Redis
) -> None:
    """S10: each starts again every second with nothing in memory; only Redis remembers."""
    granted_s: list[float] = []
    for _ in range(3 * CONNECT_WINDOW_S * CONSUMERS_IN_A_LOOP):
        clock.now_ns += SECOND // CONSUMERS_IN_A_LOOP
        with suppress(RateLimited):
            SharedBudget("toy", 300, CONNECT_WINDOW_S, kind="connects", patience_s=0).spend(1)
            granted_s.append(clock.time())
    assert fullest(granted_s, CONNECT_WINDOW_S) <= 300
    assert len(granted_s) >= 0.8 * 3 * 300, "and most of it may be used"
