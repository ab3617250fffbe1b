"""The stream host: one process that is idle until told, with a runner per exchange.

It registers and tells why it is idle, reads commands once it is ready, keeps the leases of what it runs,
and follows edited rows. When asked to stop it drains every stream, releases every lease and ends. One that
was killed is succeeded by the next of its name on this machine, which goes on with what it ran.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

from exchanges import control, lease, observed
from exchanges.geo import Allowed, Location
from exchanges.lifecycle import State
from exchanges.lifeline import Lifeline, is_dead
from exchanges.pilot import Pilot
from exchanges.report import reason
from exchanges.runner import Runner
from exchanges.running import Plan, Wiring
from livermore.core.errors import StoreUnavailable
from livermore.logs import event as log_event
from livermore.version import version

log = logging.getLogger(__name__)

BEAT_EVERY_S = 1.0
REPLAN_EVERY_S = 10.0
END_WITHIN_S = 10.0
_CLASH_PATIENCE_S = 3.0
_KNOWN_FOR_S = 300.0
_UNKNOWN_FOR_S = 30.0


class Whereabouts:
    """This host's location, looked up when first asked and again after a while.

    A place once known stays known when a later lookup fails: that says nothing of the place, and a
    running stream must not end for it.
    """

    def __init__(self, locate: Callable[[], Location]) -> None:
        self._locate = locate
        self._found: Location | None = None
        self._ask_again_at = 0.0
        self._lock = threading.Lock()

    def __call__(self) -> Location:
        """Where this host is; the lookup may take some seconds."""
        with self._lock:
            if self._found is None or time.monotonic() >= self._ask_again_at:
                found = self._locate()
                is_known = found.country is not None
                if is_known or self._found is None:
                    self._found = found
                self._ask_again_at = time.monotonic() + (_KNOWN_FOR_S if is_known else _UNKNOWN_FOR_S)
            return self._found

    @property
    def known(self) -> Location | None:
        """What has been found out so far, without asking anybody."""
        return self._found


class Host:
    """`run` blocks until `stop` (which a signal handler may call). `only` limits which exchanges it serves."""

    def __init__(
        self, wiring: Wiring, name: str, *, autostart: Collection[str] = (), only: Collection[str] = ()
    ) -> None:
        self.name = name
        self.runners: dict[str, Runner] = {}
        self._wiring, self._autostart, self._only = wiring, frozenset(autostart), frozenset(only)
        self._where = Whereabouts(wiring.locate)
        self.owner = lease.new_owner(name)
        self._lifeline = Lifeline(self.owner)
        self.state = observed.INIT
        self._started_ms = time.time_ns() // 1_000_000
        self._stopping = threading.Event()
        self._due: dict[str, float] = {}

    def stop(self) -> None:
        """Ask for the end; returns at once."""
        self._stopping.set()

    def run(self) -> None:
        """Serve until stopped."""
        try:
            while not self._stopping.is_set() and not self._begin():
                self._stopping.wait(BEAT_EVERY_S)
            while not self._stopping.wait(BEAT_EVERY_S):
                self._tick()
        finally:
            self._end()

    # ---- beginning and end -----------------------------------------------------------------------

    def _begin(self) -> bool:
        """Register, then be ready; False while Redis is away. Commands wait in their streams meanwhile."""
        try:
            self._register()
            self._beat()
            self._replan(self._wiring.plans())
            if not all(runner.pilot.plan.is_loopback for runner in self.runners.values()):
                self._where()
            self.state = observed.READY
            self._beat()
        except StoreUnavailable as error:
            log_event(log, "host.waiting", logging.WARNING, error=error)
            return False
        log_event(log, "host.ready", host=self.name, exchanges=",".join(self.runners))
        for runner in self.runners.values():
            runner.launch()
        self._due = {"renew": _in(lease.RENEW_EVERY_S), "replan": _in(REPLAN_EVERY_S)}
        self._tick()
        return True

    def _register(self) -> None:
        """Take the name; a dead owner of it is succeeded, a living one keeps it and this host is renamed."""
        self._lifeline.hold()
        if observed.register(self.name, self.owner):
            return
        other = observed.host(self.name)
        patience_s = 0.0 if other is not None and is_dead(other.owner) else _CLASH_PATIENCE_S
        deadline = time.monotonic() + patience_s
        while other is not None and time.monotonic() < deadline and not self._stopping.wait(0.2):
            now = observed.host(self.name)
            if now is None or now.updated_ms != other.updated_ms:
                break
        else:
            if other is None or observed.register(self.name, self.owner, instead_of=other.owner):
                return
        self.name = f"{self.name}-{secrets.token_hex(2)}"
        self.owner = lease.new_owner(self.name)
        self._lifeline.let_go()
        self._lifeline = Lifeline(self.owner)
        self._register()

    def _end(self) -> None:
        self.state = observed.DRAINING
        for runner in self.runners.values():
            runner.end()
        self._safely("beat", self._beat)
        deadline = time.monotonic() + END_WITHIN_S
        for slug, runner in self.runners.items():
            if not runner.join(max(0.1, deadline - time.monotonic())):
                log_event(log, "host.left_behind", logging.ERROR, exchange=slug)
        self._safely("forget", lambda: observed.forget(self.name))
        self._lifeline.let_go()
        log_event(log, "host.ended", host=self.name)

    # ---- every second ----------------------------------------------------------------------------

    def _tick(self) -> None:
        self._safely("beat", self._beat)
        for runner in self.runners.values():
            self._safely("tell", runner.pilot.tell)
        if self._is_due("renew", lease.RENEW_EVERY_S):
            self._safely("touch", self._lifeline.touch)
            for runner in self.runners.values():
                self._safely("renew", runner.pilot.renew)
        if self._is_due("replan", REPLAN_EVERY_S):
            self._safely("replan", lambda: self._replan(self._wiring.plans(), is_running=True))
            for slug in self.runners:
                self._safely("settle", partial(control.settle_overdue, slug))

    def _replan(self, plans: Mapping[str, Plan], *, is_running: bool = False) -> None:
        """Hand each runner its row as it is now; a new row gets a runner."""
        for slug, plan in plans.items():
            if self._only and slug not in self._only:
                continue
            if slug in self.runners:
                self.runners[slug].pilot.plan = plan
                continue
            pilot = Pilot(plan, self.name, self.owner, self._wiring, self._where)
            is_heir = self._inherits(slug, pilot)
            self.runners[slug] = Runner(pilot, autostart=slug in self._autostart or is_heir)
            if is_running:
                self.runners[slug].launch()

    def _inherits(self, slug: str, pilot: Pilot) -> bool:
        """Did a host of this name run it when it was killed? It was told to, and nobody told it to stop."""
        held = lease.holder(slug)
        if held is None or held.host != self.name or not is_dead(held.owner):
            return False
        told = observed.stream_state(slug)
        pilot.crashes.load(told)
        pilot.crashes.note(f"the process of host {self.name} died without a traceback: killed, or out of memory")
        return told.get("state") != State.PAUSED

    def _beat(self) -> None:
        busy = [slug for slug, runner in self.runners.items() if runner.pilot.lease]
        observed.beat(
            self.name,
            {
                "owner": self.owner,
                "state": self.state,
                "region": str(self._where.known or ""),
                "reason": f"runs {' '.join(busy)}" if busy else _WHY_IDLE,
                "pid": os.getpid(),
                "version": version(),
                "started_ms": self._started_ms,
                "exchanges": {slug: self._served(runner.pilot) for slug, runner in self.runners.items()},
            },
        )

    def _served(self, pilot: Pilot) -> dict[str, Any]:
        place = self._where.known or Location(None, None, "not asked yet")
        may_run = pilot.plan.is_enabled and isinstance(pilot.plan.verdict(lambda: place), Allowed)
        epoch = held.epoch if (held := pilot.lease) else None
        return {"state": str(pilot.state), "reason": reason(pilot), "may_run": may_run, "epoch": epoch}

    def _is_due(self, what: str, every_s: float) -> bool:
        if time.monotonic() < self._due[what]:
            return False
        self._due[what] = _in(every_s)
        return True

    def _safely(self, what: str, act: Callable[[], Any]) -> None:
        """A step of the loop that must live."""
        try:
            act()
        except StoreUnavailable as error:
            log_event(log, "host.step_postponed", logging.WARNING, step=what, error=error)
        except Exception:
            log.exception("host.step_failed")


_WHY_IDLE = "idle: nothing connects until told; start one with: python manage.py start_exchange NAME"


def _in(seconds: float) -> float:
    return time.monotonic() + seconds
