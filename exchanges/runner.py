"""One exchange in one host: a thread that takes commands in order and steps its pilot."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from exchanges import lease, observed
from exchanges.command import Command, Status, Verb
from exchanges.geo import Blocked
from exchanges.inbox import Inbox
from exchanges.lifecycle import HOLDS_LEASE, IS_LIVE, TABLE, Event, State
from exchanges.pilot import Pilot
from livermore.core.errors import LivermoreError, StoreUnavailable
from livermore.logs import event as log_event

log = logging.getLogger(__name__)

_POLL_MS = 200
_QUIET_FOR_NS = 3_000_000_000


class Runner:
    """`launch` begins, `end` asks for the end, `join` waits for it: drained, lease released."""

    def __init__(self, pilot: Pilot, *, autostart: bool = False) -> None:
        self.pilot = pilot
        self._autostart = autostart
        self._inbox = Inbox(pilot.plan.slug, pilot.host)
        self._waiting: list[Command] = []  # starts and resumes whose stream is on its way
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"{pilot.plan.slug}-runner", daemon=True)

    def launch(self) -> None:
        """Begin to read commands."""
        self._thread.start()

    def end(self) -> None:
        """Ask for the end; returns at once."""
        self._ending.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; True when it came."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        is_failing = False
        while not self._ending.is_set():
            try:
                self.step()
                is_failing = False
            except Exception as error:
                # The top of a loop that must live: one exchange's trouble is not another's.
                if not is_failing:
                    is_away = isinstance(error, StoreUnavailable)
                    fields = {"exchange": self.pilot.plan.slug, "error": error}
                    log.error("exchange.step_failed", exc_info=not is_away, extra={"fields": fields})
                is_failing = True
                if not isinstance(error, LivermoreError):
                    self.pilot.crashed(error)
                self._ending.wait(1.0)
        try:
            self.pilot.stop("host", "its host stops")
            self._settle()
        except StoreUnavailable:
            log_event(log, "exchange.not_told", logging.WARNING, exchange=self.pilot.plan.slug)

    def step(self) -> None:
        """Advance the stream, then obey what has been sent."""
        if self._autostart:
            self._autostart = False
            self.pilot.start("autostart")
        self.pilot.advance()
        self._settle()
        for command in self._inbox.read(_POLL_MS):
            if self._is_for_another(command):
                self._inbox.leave(command)
            elif self._inbox.claim(command):
                log_event(log, "command.claimed", id=command.id, exchange=command.exchange, verb=command.verb)
                self._obey(command)

    def _is_for_another(self, command: Command) -> bool:
        """An open command is left to the holder, and an open start to a host that may, while there is one."""
        if command.target or self.pilot.state not in (State.IDLE, State.REFUSED):
            return False
        held = lease.holder(command.exchange)
        if held is not None:
            return observed.is_live(held)
        if command.verb is not Verb.START or not isinstance(self.pilot.verdict(), Blocked):
            return False
        return any(h.may_run(command.exchange) for h in observed.live_hosts())

    # ---- one command -----------------------------------------------------------------------------

    def _obey(self, command: Command) -> None:
        pilot = self.pilot
        match command.verb:
            case Verb.START:
                self._start(command)
            case Verb.STOP:
                was_idle = pilot.state is State.IDLE
                pilot.stop(command.issued_by, "asked to stop")
                self._settle()  # what waited for this stream has its end, whatever is sent next
                self._done(command, "it was idle" if was_idle else "stopped")
            case Verb.PAUSE if pilot.state is State.PAUSED:
                self._done(command, "it was paused")
            case Verb.PAUSE if Event.PAUSE in TABLE[pilot.state]:
                pilot.pause(command.issued_by)
                self._done(command, "paused")
            case Verb.RESUME if pilot.state in HOLDS_LEASE:
                self._resume(command)
            case Verb.RELOAD:
                pilot.reload()
                self._done(command, "reloaded")
            case Verb.ROLL if pilot.state in IS_LIVE:
                pilot.roll()
                self._done(command, "connections are being replaced")
            case _:
                self._fail(command, "impossible", f"{pilot.plan.slug} is {pilot.state}: it cannot {command.verb}")

    def _start(self, command: Command) -> None:
        if not self.pilot.plan.is_enabled:
            self._fail(command, "disabled", f"{self.pilot.plan.slug} is disabled in its row")
        elif self.pilot.state is State.PAUSED:
            self._resume(command)
        else:
            self._waiting.append(command)
            self.pilot.start(command.issued_by)

    def _resume(self, command: Command) -> None:
        if self.pilot.state is State.PAUSED:
            self.pilot.resume(command.issued_by)
        self._waiting.append(command)

    def _settle(self) -> None:
        """A start ends when every connection streams, when the stream cannot come, or when its time is up."""
        now_ms = time.time_ns() // 1_000_000
        waiting, self._waiting = self._waiting, []
        for command in waiting:
            pilot = self.pilot
            if pilot.state is State.STREAMING and self._has_ticked():
                self._done(command, "streaming")
            elif pilot.state in (State.IDLE, State.REFUSED):
                self._fail(command, pilot.code, pilot.reason)
            elif now_ms > command.deadline_ms:
                self._fail(command, "timeout", f"still {pilot.state} ({pilot.reason}); it goes on trying")
            else:
                self._waiting.append(command)

    def _has_ticked(self) -> bool:
        """Has market data come? A quiet market gets a moment; its stream is no less a stream."""
        engine, seen_ns = self.pilot.engine, time.time_ns()
        if engine is None or engine.first_tick_ms is not None:
            return True
        since_ns = engine.snapshot().since_ns
        return since_ns is not None and seen_ns - since_ns > _QUIET_FOR_NS

    def _done(self, command: Command, message: str) -> None:
        self._inbox.finish(command, Status.DONE, "ok", message, **self.pilot.answer())

    def _fail(self, command: Command, code: str, message: str, **answer: Any) -> None:
        self._inbox.finish(command, Status.FAILED, code, message, **{**self.pilot.answer(), **answer})
