"""Leads one exchange's stream through its states: geography, lease, symbols, connections, and the way back."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Any

from exchanges import lease, observed
from exchanges.crashes import Crashes
from exchanges.engine import Engine
from exchanges.geo import Blocked, Location, Verdict
from exchanges.lease import Lease, LeaseHeld
from exchanges.lifecycle import HOLDS_LEASE, TABLE, Event, State, after, route
from exchanges.observed import Change
from exchanges.report import Report
from exchanges.running import Plan, Wiring
from livermore.core.errors import GeoBlocked, LivermoreError, StoreUnavailable, Transient, VenueUnavailable
from livermore.logs import event as log_event

log = logging.getLogger(__name__)

REFRESH_EVERY_S = 10.0
BACKOFF_CAP_S = 60.0


class Pilot:
    """Call `advance` again and again, from one thread; `tell` and `renew` may come from another.

    `plan` may be replaced at any time: it is followed within `REFRESH_EVERY_S`. `code` tells why it last
    became idle or refused: geo, held, lost, stopped. `where` tells this host's location and is asked only
    for addresses that are not on this machine.
    """

    def __init__(self, plan: Plan, host: str, owner: str, wiring: Wiring, where: Callable[[], Location]) -> None:
        self.plan, self.host, self.owner = plan, host, owner
        self._wiring, self._where = wiring, where
        self.state, self.reason, self.code = State.IDLE, "", ""
        self.lease: Lease | None = None
        self.engine: Engine | None = None
        self.held_by = ""
        self._lost = ""
        self._retry_at = self._refresh_at = self._rested_at = 0.0
        self.crashes = Crashes()
        self._failures = 0
        self._is_announced = False
        self._report = Report()
        self._telling = threading.Lock()

    # ---- orders ----------------------------------------------------------------------------------

    def start(self, actor: str) -> None:
        """Begin where the state allows it; a disabled exchange does not begin."""
        if self.plan.is_enabled and Event.START in TABLE[self.state]:
            self._retry_at = 0.0
            self._enter(Event.START, actor, "told to start")

    def stop(self, actor: str, why: str, event: Event = Event.STOP, code: str = "stopped") -> None:
        """Unsubscribe, publish what is left, release the lease. Nothing to do when idle."""
        if event in TABLE[self.state]:
            self._enter(event, actor, why)
            self._let_go()
            self.code = code
            self._enter(Event.FLUSHED, "host", why)

    def pause(self, actor: str) -> None:
        """Close the sockets and keep the lease."""
        if self.engine is not None:
            self.engine.pause()
        self._enter(Event.PAUSE, actor, "asked to pause")

    def resume(self, actor: str) -> None:
        """Connect again after a pause."""
        if self.engine is not None:
            self.engine.resume()
        self._retry_at = 0.0
        self._enter(Event.RESUME, actor, "asked to resume")

    def roll(self) -> None:
        """Replace every connection of the running stream."""
        if self.engine is not None:
            self.engine.roll()

    def reload(self) -> None:
        """Follow the row and the symbols now."""
        self._refresh_at = 0.0
        self._refresh()

    def renew(self) -> None:
        """Extend the lease; one that is no longer ours ends the stream with the next step."""
        held = self.lease
        if held is not None and not lease.renew(held) and self.lease is held:
            found = lease.holder(self.plan.slug)
            self._lost = f"the lease went to host {found.host}" if found else "the lease was lost"

    def crashed(self, error: Exception) -> None:
        """A step failed for a reason nobody foresaw; in a loop of such the next has to wait."""
        self.crashes.note(error)
        self._rested_at = time.monotonic() + self.crashes.rest_s

    # ---- one step --------------------------------------------------------------------------------

    def advance(self) -> None:
        """Whatever the state asks for now."""
        if self._lost:
            why, self._lost = self._lost, ""
            self.stop("lease", why, Event.LOST, "lost")
            self.start("lease")
        elif self._is_resting():
            pass
        elif self.state is State.CHECKING_GEO:
            self._check()
        elif self.state in HOLDS_LEASE and self.state is not State.PAUSED:
            if self.engine is None:
                self._prepare()
            else:
                self._observe(self.engine)
                self._refresh()

    def _is_resting(self) -> bool:
        """In a loop of crashes the state says so, and nothing is done before its time."""
        if self.crashes.is_looping and Event.CRASHING in TABLE[self.state] and self.state is not State.DEGRADED:
            self._enter(Event.CRASHING, "host", self.crashes.complaint)
        return time.monotonic() < self._rested_at

    def _check(self) -> None:
        """Geography before any packet, then the lease."""
        if time.monotonic() < self._retry_at:
            return
        said = self.verdict()
        if isinstance(said, Blocked):
            self._refuse(said.why, Event.BLOCKED)
            return
        try:
            self.lease = lease.acquire(self.plan.slug, self.owner)
        except LeaseHeld as error:
            self._wait_for_lease(error)
        else:
            self._failures, self._is_announced, self._retry_at = 0, False, 0.0
            self._rested_at = time.monotonic() + self.crashes.rest_s  # after a loop of processes that were killed
            self._enter(Event.ALLOWED, "geo", said.why)

    def _wait_for_lease(self, error: LeaseHeld) -> None:
        """A living holder keeps its lease; that of one which died on another machine expires by itself."""
        if error.lease.owner == self.owner:
            lease.release(error.lease)  # half acquired, when Redis went away in between
        elif observed.is_live(error.lease):
            self.code = "held"
            self._enter(Event.HELD, "lease", str(error))
        else:
            self.reason = f"waiting for the lease of host {error.lease.host}, which is gone or going"
            self._retry_at = time.monotonic() + 1.0

    def _prepare(self) -> None:
        """Find the symbols and build the stream; what goes wrong is tried again, for ever."""
        if time.monotonic() < self._retry_at or self.lease is None or not self._is_still_permitted():
            return
        if self.state is State.BACKING_OFF:
            self._enter(Event.RETRY, "host", "trying again")
        try:
            names = self._wiring.universe(self.plan.slug)
            if not names:
                self._wiring.sync(self.plan)
                names = self._wiring.universe(self.plan.slug)
            if not names:
                raise VenueUnavailable(f"{self.plan.slug} has no symbols to stream")
            self.engine = Engine(self._wiring, self.plan, names, self.lease.epoch)
            self._refresh_at = time.monotonic() + REFRESH_EVERY_S
        except GeoBlocked as error:
            self._refuse(str(error), Event.REFUSED)
        except LivermoreError as error:
            self._back_off(str(error))
        except Exception:
            self._back_off("preparing failed; see the log")
            raise

    def _back_off(self, why: str) -> None:
        self._failures += 1
        ceiling_s = min(BACKOFF_CAP_S, 2.0 ** min(self._failures, 6))
        delay_s = ceiling_s * random.uniform(0.5, 1.0)  # noqa: S311 (jitter, not a secret)
        self._retry_at = time.monotonic() + delay_s
        self._enter(Event.CLOSED, "host", f"{why}; next try in {delay_s:.0f} s")

    def _observe(self, engine: Engine) -> None:
        engine.tend()
        seen = engine.snapshot()
        if seen.state not in TABLE or seen.state == State.PAUSED:
            return  # "stopped", or a pause that just ended
        self.crashes.take(seen.crashes)
        target = State(seen.state)
        if self.crashes.is_looping and target is not State.REFUSED:
            self.reason = self.crashes.complaint
            return
        if target is State.REFUSED:
            self._refuse(f"{self.plan.title} refuses this host: {seen.reason}", Event.REFUSED)
            return
        for event in route(self.state, target):
            self._enter(event, "stream", seen.reason)
        self.reason = seen.reason
        if target is State.STREAMING and not self._is_announced:
            self._is_announced = True
            try:
                self._wiring.started(self.plan.slug, tuple(sorted(engine.names.values())))
            except Transient:
                self._is_announced = False  # told again with the next step

    def _refresh(self) -> None:
        """Follow what an operator changed in the row or in the symbols."""
        if self.engine is None or time.monotonic() < self._refresh_at:
            return
        self._refresh_at = time.monotonic() + REFRESH_EVERY_S
        if self._is_still_permitted() and (names := self._wiring.universe(self.plan.slug)):
            self.engine.refresh(self.plan, names)

    def _is_still_permitted(self) -> bool:
        """False, and no longer running, when an operator's edit forbids it."""
        said = self.verdict()
        if not self.plan.is_enabled:
            self.stop("row", "disabled in its row")
        elif isinstance(said, Blocked):
            self._refuse(said.why, Event.REFUSED)
        else:
            return True
        return False

    def _refuse(self, why: str, event: Event) -> None:
        self.code = "geo"
        if event not in TABLE[self.state]:  # paused while an operator forbids it
            self.stop("geo", why, code="geo")
            return
        self._let_go()
        self._enter(event, "geo", why)

    def _let_go(self) -> None:
        engine, self.engine = self.engine, None
        if engine is not None and not engine.stop():
            log_event(log, "exchange.not_drained", logging.ERROR, exchange=self.plan.slug)
        held, self.lease = self.lease, None
        try:
            if held is not None:
                lease.release(held)
        except StoreUnavailable:
            log_event(log, "exchange.lease_left_to_expire", logging.WARNING, exchange=self.plan.slug)

    # ---- what others see -------------------------------------------------------------------------

    def answer(self) -> dict[str, Any]:
        """What a command's result says of the exchange."""
        engine = self.engine
        return {
            "exchange": self.plan.slug,
            "state": str(self.state),
            "symbols": len(engine.names) if engine else 0,
            "sockets": engine.snapshot().sockets if engine else 0,
            "first_tick_ms": engine.first_tick_ms if engine else None,
            "lease_epoch": self.lease.epoch if self.lease else None,
            "host": self.host,
            "region": self.region(),
        }

    def verdict(self) -> Verdict:
        """May this host contact the exchange, as far as its row says?"""
        return self.plan.verdict(self._where)

    @property
    def config_version(self) -> int:
        """Which edit of the row the stream follows; without a stream, the one that was read last."""
        engine = self.engine
        return engine.plan.config_version if engine else self.plan.config_version

    def region(self) -> str:
        """Where this host reaches the exchange from; `loopback` when nothing leaves this machine."""
        return "loopback" if self.plan.is_loopback else str(self._where())

    def tell(self) -> None:
        """Write this exchange's state for others to read."""
        with self._telling:
            held = lease.holder(self.plan.slug) if self.state is State.IDLE else None
            self.held_by = f"host {held.host} runs it (epoch {held.epoch})" if held else ""
            engine = self.engine
            seen, names = (engine.snapshot(), engine.names.values()) if engine else (None, ())
            observed.tell_stream(self.plan.slug, self._report.fields(self, seen, names))

    def _enter(self, event: Event, actor: str, reason: str) -> None:
        before, self.state = self.state, after(self.state, event)
        self.reason = reason
        epoch = self.lease.epoch if self.lease else None
        now_ms = time.time_ns() // 1_000_000
        change = Change(self.plan.slug, before, event, self.state, actor, reason, self.host, epoch, now_ms)
        log_event(log, "exchange.state", exchange=self.plan.slug, before=before, event=event, state=self.state,
                  actor=actor, reason=reason)  # fmt: skip
        try:
            self.tell()
            observed.announce(change)
        except StoreUnavailable:
            log_event(log, "exchange.change_not_announced", logging.WARNING, exchange=self.plan.slug)
        self._wiring.watch(change)
