"""What a simulated venue is given and what it must provide: the obligation of `exchanges.<slug>.simulator`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from aiohttp import web

from exchanges.simulation.account import Account
from exchanges.simulation.connection import Connection
from exchanges.simulation.listing import Listing, Print
from exchanges.simulation.market import Market
from exchanges.simulation.tape import Tape


@dataclass(frozen=True, slots=True)
class Options:
    """How strictly time is kept: `scale` multiplies every period of a protocol, `lifetime_s` replaces a
    connection's longest life, `weight_limit` a REST budget. `quirks` are ways in which a venue was also seen
    to answer; each `Script` lists its own. `delays_s`: how much later a venue's frames leave, by its slug."""

    scale: float = 1.0
    lifetime_s: float | None = None
    weight_limit: int | None = None
    quirks: frozenset[str] = frozenset()
    delays_s: Mapping[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Stage:
    """One venue's share of the simulation: its market, its clock and its clients.

    `catch_up` must be called before an answer is computed, so that REST and stream agree. `halted` natives do
    not trade and must be listed as such, `delisted` ones do not exist any more. So many of the next subscriptions
    as `topics_to_lose` says are acknowledged and then forgotten, so many tokens as `tokens_to_spoil` says do not
    admit. `clock_s` measures the protocol's periods, in seconds since any moment. `accounts` are found by their key.
    """

    slug: str
    market: Market
    options: Options
    now_us: Callable[[], int]
    catch_up: Callable[[], None]
    connections: dict[Connection, None] = field(default_factory=dict)
    halted: set[str] = field(default_factory=set)
    delisted: set[str] = field(default_factory=set)
    topics_to_lose: int = 0
    tokens_to_spoil: int = 0
    clock_s: Callable[[], float] = time.monotonic
    accounts: dict[str, Account] = field(default_factory=dict)

    def tape(self, native: str) -> Tape | None:
        """The record of one of this venue's listings; None when it has none of this name."""
        try:
            return None if native in self.delisted else self.market.tape(self.slug, native)
        except KeyError:
            return None

    @property
    def listings(self) -> list[Listing]:
        """This venue's listings."""
        return [x for x in self.market.listings if x.venue == self.slug and x.native not in self.delisted]

    def has(self, quirk: str) -> bool:
        """Whether a quirk was asked for."""
        return quirk in self.options.quirks

    def loses_topic(self) -> bool:
        """Whether the subscription just acknowledged must be forgotten; counts it."""
        if not self.topics_to_lose:
            return False
        self.topics_to_lose -= 1
        return True

    def spoils_token(self) -> bool:
        """Whether the token just shown must not admit; counts it."""
        if not self.tokens_to_spoil:
            return False
        self.tokens_to_spoil -= 1
        return True

    def is_over(self, since_s: float, period_s: float) -> bool:
        """Whether a protocol's period, scaled, has passed since a moment of `clock_s`."""
        return self.clock_s() - since_s >= period_s * self.options.scale


class Nonsense(StrEnum):
    """Frames no venue should send."""

    MALFORMED = "malformed"
    UNKNOWN_SYMBOL = "unknown_symbol"
    HUGE_NUMBER = "huge_number"
    BINARY = "binary"


class SimulatedVenue(Protocol):
    """A venue's protocol; everything is synchronous, the server does the waiting.

    `answer` gets every REST request. `opened`, `received`, `ponged` and `closed` tell of one connection;
    `traded` brings new prints of one listing in order, `flush` asks to send what of them was held back to be
    batched; `tick` comes at least every 50 ms. `refusal` is the
    body the venue sends with an error status, `nonsense` a broken frame in its shape, `announce_end` its
    shutdown notice if it has one. `playback_reply` acknowledges a client's frame while a recording without
    acknowledgements is played.
    """

    def answer(self, request: web.Request) -> web.Response: ...
    def opened(self, connection: Connection) -> None: ...
    def received(self, connection: Connection, text: str) -> None: ...
    def ponged(self, connection: Connection, is_ping: bool) -> None: ...
    def closed(self, connection: Connection) -> None: ...
    def traded(self, tape: Tape, prints: Sequence[Print]) -> None: ...
    def flush(self) -> None: ...
    def tick(self) -> None: ...
    def refusal(self, status: int) -> web.Response: ...
    def nonsense(self, kind: Nonsense) -> str | bytes: ...
    def announce_end(self) -> None: ...
    def playback_reply(self, text: str) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Script:
    """What a venue's simulator module offers as `SIMULATOR`.

    `keeps_natives`: a native is an id for ever there, and only what is displayed can change.
    """

    listings: tuple[Listing, ...]
    build: Callable[[Stage], SimulatedVenue]
    leads: bool = False
    quirks: frozenset[str] = frozenset()
    keeps_natives: bool = False
