"""The venues' simulators, served together on loopback: one market, one loop, one port per venue."""

from __future__ import annotations

import asyncio
import importlib
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from exchanges.simulation import scenario, snapshot
from exchanges.simulation.account import Account, opened
from exchanges.simulation.market import FOR_EVER_S, Market, Produced
from exchanges.simulation.playback import Playback
from exchanges.simulation.server import VenueServer
from exchanges.simulation.stage import Options, Script, Stage
from livermore.core.candle import Kline
from livermore.core.errors import InvalidInput
from livermore.core.trade import Trade

log = logging.getLogger(__name__)

LONGEST_PAUSE_S = 0.05
ON_TIME_S = 0.001


def available() -> list[str]:
    """The venues that have a simulator: every package `exchanges.<slug>` with a module `simulator`."""
    return sorted(file.parent.name for file in Path(__file__).parent.glob("*/simulator.py"))


def load(slug: str) -> Script:
    """A venue's simulator; raises `InvalidInput` that lists what exists."""
    if slug not in available():
        raise InvalidInput(f"no simulator for {slug!r}; accepted: {' '.join(available())}")
    script: Script = importlib.import_module(f"exchanges.{slug}.simulator").SIMULATOR
    return script


class Simulation:
    """Serves the named venues (all by default) for as long as the context is open.

    With the same `seed`, `start_ms` and scripted moves the market is the same to the last trade. Its clock
    begins at `start_ms` (now by default) and runs with the machine's; with `is_paused` it stands still and
    only `advance` and `burst` move it. `pace` multiplies the number of trades. `scenario` is a file, a
    shipped scenario's name or a list of steps. With `resume` the market is kept in that file and taken up
    again when the same one stood for two hours at most.
    """

    def __init__(
        self,
        venues: Sequence[str] = (),
        *,
        seed: int = 1,
        start_ms: int | None = None,
        ports: Mapping[str, int] | None = None,
        scenario: str | Path | Sequence[Mapping[str, Any]] | None = None,
        pace: float = 1.0,
        is_paused: bool = False,
        has_episodes: bool = True,
        options: Options | None = None,
        playbacks: Sequence[Playback] = (),
        resume: Path | None = None,
    ) -> None:
        names = list(dict.fromkeys(venues)) or available()
        scripts = {name: load(name) for name in names}
        options = options or Options()
        if unknown := options.quirks - (known := frozenset().union(*(s.quirks for s in scripts.values()))):
            raise InvalidInput(f"no quirk {sorted(unknown)} at these venues; accepted: {sorted(known)}")
        self._steps = _steps(scenario)
        self._ports = dict(ports or {})
        self._is_paused = is_paused
        self._task: asyncio.Task[None] | None = None
        leader = next((n for n, s in scripts.items() if s.leads), names[0])
        listings = [x for s in scripts.values() for x in s.listings]
        now_ms, now_ns = time.time_ns() // 1_000_000, time.monotonic_ns()
        is_now, start_ms = start_ms is None, now_ms if start_ms is None else start_ms
        fresh = Market(listings, seed=seed, start_ms=start_ms, leader=leader, pace=pace)
        self._resume = resume
        self.market = (snapshot.restore(resume, fresh, start_ms) if resume else None) or fresh
        self.market.has_episodes = has_episodes
        # Making a market takes a second or more; one that began "now" is not late for that.
        self._zero_ns = now_ns if is_now else time.monotonic_ns()
        self.servers: dict[str, VenueServer] = {}
        for name, script in scripts.items():
            stage = Stage(name, self.market, options, partial(self._venue_now_us, name), self.catch_up)
            stage.delisted |= {native for venue, native in self.market.gone if venue == name}
            playback = next((p for p in playbacks if p.venue == name), None)
            self.servers[name] = VenueServer(stage, script.build(stage), playback)

    # ---- life --------------------------------------------------------------------------------

    async def __aenter__(self) -> Simulation:
        for name, server in self.servers.items():
            await server.start(self._ports.get(name, 0))
        self._task = asyncio.create_task(self._drive())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
        await asyncio.gather(*(server.stop() for server in self.servers.values()))
        if self._resume is not None:
            snapshot.save(self.market, self._resume)

    @property
    def endpoints(self) -> dict[str, dict[str, str]]:
        """Where each venue listens, in the shape of the variable EXCHANGE_ENDPOINTS."""
        return {
            name: {"rest": f"http://127.0.0.1:{s.port}", "ws": f"ws://127.0.0.1:{s.port}"}
            for name, s in self.servers.items()
        }

    # ---- time --------------------------------------------------------------------------------

    def now_us(self) -> int:
        """The market's clock, µs UTC."""
        if self._is_paused:
            return self.market.now_us
        return self.market.start_us + (time.monotonic_ns() - self._zero_ns) // 1000

    def _venue_now_us(self, venue: str) -> int:
        return self.now_us() + self.market.skew_us(venue)

    def catch_up(self) -> None:
        """Let everything happen that is due by now."""
        self._run_to(self.now_us())

    def _run_to(self, now_us: int) -> None:
        """Trade and perform the scenario, each at its time."""
        while self._steps and (step_us := self._due_us(self._steps[0])) <= now_us:
            self._publish(self.market.advance(step_us))
            self._perform(self._steps.pop(0))
        self._publish(self.market.advance(now_us))

    def _due_us(self, step: scenario.Step) -> int:
        return self.market.start_us + int(step.at_s * 1e6)

    async def _drive(self) -> None:
        while True:
            try:
                self.catch_up()
                for server in self.servers.values():
                    server.tick()
            except Exception:
                log.exception("simulation.tick_failed")
            due_s = (self.market.next_us - self.now_us()) / 1e6
            pause_s = LONGEST_PAUSE_S if self._is_paused else due_s
            await asyncio.sleep(min(LONGEST_PAUSE_S, max(ON_TIME_S, pause_s)))

    def _publish(self, produced: Produced) -> None:
        by_tape: dict[Any, list[Any]] = {}
        for tape, new in produced:
            by_tape.setdefault(tape, []).append(new)
        for tape, prints in by_tape.items():
            self.servers[tape.listing.venue].venue.traded(tape, prints)

    # ---- scripts -----------------------------------------------------------------------------

    def fault(self, venue: str, kind: str, **options: Any) -> None:
        """Let a fault happen now; the kinds and options are those of `Faults.strike`."""
        if venue not in self.servers:
            raise InvalidInput(f"{venue!r} is not simulated; accepted: {' '.join(self.servers)}")
        self.servers[venue].faults.strike(kind, **options)

    def move(self, base: str, bps: float, *, over_s: float = 3.0, lags_s: dict[str, float] | None = None) -> None:
        """Move an asset's price from now on; see `Market.move`."""
        self.market.move(base, bps, at_us=self.now_us(), over_s=over_s, lags_s=lags_s)

    def halt(self, venue: str, base: str, *, is_halted: bool = True) -> None:
        """Suspend (or resume) an asset's markets at a venue: no trades, and the venue's lists say so."""
        self._suspend(self.servers[venue].stage.halted, venue, base, is_suspended=is_halted)

    def delist(self, venue: str, base: str, *, is_delisted: bool = True) -> None:
        """Remove an asset's markets from a venue (or list them again): no trades, in no list, an unknown symbol."""
        self._suspend(self.servers[venue].stage.delisted, venue, base, is_suspended=is_delisted)

    def rename(self, venue: str, base: str, to: str) -> None:
        """A rebrand: the asset's markets vanish from a venue, and new ones under another name go on at their price.

        Raises `InvalidInput` for a venue whose natives are ids for ever, and for names that do not fit.
        """
        if load(venue).keeps_natives:
            raise InvalidInput(f"{venue} keeps its symbols for ever; only what it displays may change")
        self.market.rename(venue, base, to)
        self.servers[venue].stage.delisted |= {native for at, native in self.market.gone if at == venue}

    def restrict(self, venue: str, weight: int) -> None:
        """From now on the venue allows so much of its REST per window, and says so where it states limits."""
        stage = self.servers[venue].stage
        stage.options = replace(stage.options, weight_limit=weight)

    def open_account(self, venue: str, account: Account) -> None:
        """Let a venue accept a key; what the account holds and the key may do can be changed at any time."""
        self.servers[venue].stage.accounts[account.api_key] = account

    def _suspend(self, natives: set[str], venue: str, base: str, *, is_suspended: bool) -> None:
        named = {x.native for x in self.market.listings if (x.venue, x.base) == (venue, base)}
        if is_suspended:
            natives |= named
        else:
            natives -= named
        self.market.silence(venue, base, FOR_EVER_S if is_suspended else 0.0)

    def _perform(self, step: scenario.Step) -> None:
        options = dict(step.options)
        if step.action == "episodes":
            self.market.has_episodes = bool(step.subject)
        elif step.action == "move":
            self.market.move(**{"at_us": self._due_us(step), **step.subject})
        elif step.venue not in self.servers:
            log.warning("simulation.step_skipped venue=%s action=%s", step.venue, step.action)
        elif step.action == "account":
            self.open_account(step.venue, opened(step.subject))
        elif step.action == "halt":
            self.halt(step.venue, **step.subject)
        elif step.action == "delist":
            self.delist(step.venue, **step.subject)
        elif step.action == "rename":
            self.rename(step.venue, **step.subject)
        elif step.action == "restrict":
            self.restrict(step.venue, **step.subject)
        elif step.action in ("silence", "skew"):
            getattr(self.market, step.action)(step.venue, **step.subject)
        else:
            self.fault(step.venue, step.subject, **options)

    # ---- virtual time and the oracle ---------------------------------------------------------

    def advance(self, span_s: float) -> None:
        """Only while paused: move the clock and stream what was traded, as fast as the clients read."""
        self._run_to(self.market.now_us + int(span_s * 1e6))
        self._flush()

    def burst(self, count: int, *, over_s: float = 0.001, venues: Sequence[str] = ()) -> int:
        """`count` prints at once on top of the usual ones, stamped over the next `over_s`; says how many
        executions all of them hold. While the clock runs, `over_s` should be short."""
        produced = self.market.burst(count, max(1, int(over_s * 1e6)), venues)
        self._publish(produced)
        self._flush()
        return sum(len(new.parts) for _, new in produced)

    def _flush(self) -> None:
        for server in self.servers.values():
            server.venue.flush()

    @property
    def is_drained(self) -> bool:
        """Every connected client was sent everything."""
        return all(c.is_drained for s in self.servers.values() for c in s.stage.connections)

    def trades(self, venue: str, native: str) -> list[Trade]:
        """Every execution of a listing in the last two hours."""
        return self.market.trades(venue, native)

    def truth(self, venue: str, native: str, open_ms: int) -> Kline:
        """The 5m candle that a listing's trades make."""
        return self.market.truth(venue, native, open_ms)


def _steps(source: str | Path | Sequence[Mapping[str, Any]] | None) -> list[scenario.Step]:
    return [] if source is None else scenario.read(source)
