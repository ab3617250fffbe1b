"""Child processes: start them, restart the dead, stop them in order, leave none behind."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None

_FIRST_DELAY_S = 1.0
_LONGEST_DELAY_S = 30.0
_PROVEN_S = 60.0
"""A child that lived so long starts again without delay when it dies."""


@dataclass(frozen=True, slots=True)
class Role:
    """One child: what it runs, and when and how fast it must stop.

    Children of the lowest `stop_rank` are told to stop first; the next rank follows when they are gone
    or killed. `environment` is added to ours. `launch` replaces `command` for a child that something
    else knows how to start.
    """

    name: str
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    stop_rank: int = 1
    stop_within_s: float = 5.0
    launch: Callable[[], subprocess.Popen[bytes]] | None = None


class Child:
    """A role's process, now and after restarts."""

    def __init__(self, role: Role, process: subprocess.Popen[bytes], now: float) -> None:
        self.role = role
        self.process = process
        self.started = now
        self.deaths = 0
        self.restart_at: float | None = None

    @property
    def is_running(self) -> bool:
        """Is the process alive?"""
        return self.process.poll() is None


class Supervisor:
    """Keeps children running until told to stop.

    Must be used from the main thread: on Linux a child is killed by the kernel when the thread that
    started it ends, however that came about. `logs` receives one file per child; children run in
    `working_directory`; `say` shows a person one line.
    """

    def __init__(self, logs: Path, working_directory: Path, say: Callable[[str], None]) -> None:
        self._logs = logs
        self._working_directory = working_directory
        self._say = say
        self._children: dict[str, Child] = {}
        logs.mkdir(parents=True, exist_ok=True)

    @property
    def pids(self) -> list[int]:
        """Process ids of the children that are alive."""
        return [child.process.pid for child in self._children.values() if child.is_running]

    def log_of(self, name: str) -> Path:
        """Where the child's output goes."""
        return self._logs / f"{name}.log"

    def start(self, role: Role) -> Child:
        """Start a role's process; its former log is kept as `<name>.log.1`."""
        log = self.log_of(role.name)
        if log.exists():
            log.replace(log.with_suffix(".log.1"))
        child = Child(role, self._launch(role), time.monotonic())
        self._children[role.name] = child
        return child

    def watch(self) -> None:
        """Notice who died and start again whose delay is over; to be called about once a second."""
        now = time.monotonic()
        for child in self._children.values():
            if child.restart_at is not None:
                if now >= child.restart_at:
                    child.process, child.started, child.restart_at = self._launch(child.role), now, None
            elif not child.is_running:
                self._bury(child, now)

    def age_s(self, name: str) -> float:
        """How long a child has run; 0 when it does not run."""
        child = self._children.get(name)
        return time.monotonic() - child.started if child is not None and child.is_running else 0.0

    def kill(self, name: str) -> None:
        """Kill a child and what it started; `watch` starts it again."""
        child = self._children[name]
        if child.is_running:
            _signal_group(child, signal.SIGKILL)
            child.process.wait()

    def stop(self, *, is_urgent: Callable[[], bool] = lambda: False) -> list[str]:
        """Stop every child, rank by rank; returns the names of those that had to be killed.

        `is_urgent` is asked all the time; from when it says yes, nobody is waited for.
        """
        killed = []
        for rank in sorted({child.role.stop_rank for child in self._children.values()}):
            group = [child for child in self._children.values() if child.role.stop_rank == rank]
            killed += _stop_together(group, is_urgent)
        self._children.clear()
        return killed

    def _bury(self, child: Child, now: float) -> None:
        """A child died by itself: say so and set the time of its next start."""
        child.deaths = 1 if now - child.started > _PROVEN_S else child.deaths + 1
        delay = min(_FIRST_DELAY_S * 2 ** (child.deaths - 1), _LONGEST_DELAY_S)
        child.restart_at = now + delay
        log = self.log_of(child.role.name)
        ending = f"{_ending(child.process.returncode)} ({_last_line(log)})"
        self._say(f"{child.role.name} {ending}; again in {delay:.0f} s; see {log}")

    def _launch(self, role: Role) -> subprocess.Popen[bytes]:
        if role.launch is not None:
            return role.launch()
        with self.log_of(role.name).open("ab") as log:
            return subprocess.Popen(
                role.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Their own session: the terminal's Ctrl-C reaches us alone, and we stop them in order.
                start_new_session=True,
                preexec_fn=partial(in_child, os.getpid(), signal.SIGKILL, role.environment),
                cwd=self._working_directory,
            )


def in_child(parent: int, last_signal: signal.Signals, environment: Mapping[str, str]) -> None:
    """Runs between fork and exec: the child dies with its parent and sees `environment`.

    A killed supervisor cannot tell its children to stop; on Linux the kernel sends them `last_signal`.
    """
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(last_signal))
        if os.getppid() != parent:
            os._exit(1)


def _stop_together(group: list[Child], is_urgent: Callable[[], bool]) -> list[str]:
    begun = time.monotonic()
    for child in group:
        _signal(child, signal.SIGTERM)
    killed = []
    while waiting := [child for child in group if child.is_running]:
        for child in waiting:
            if is_urgent() or time.monotonic() - begun > child.role.stop_within_s:
                _signal(child, signal.SIGKILL)
                child.process.wait()
                killed.append(child.role.name)
        time.sleep(0.02)
    for child in group:
        # What the child itself started and forgot is still in its group.
        _signal_group(child, signal.SIGKILL)
    return killed


def _signal(child: Child, number: signal.Signals) -> None:
    if child.is_running:
        child.process.send_signal(number)


def _signal_group(child: Child, number: signal.Signals) -> None:
    try:
        os.killpg(child.process.pid, number)
    except (ProcessLookupError, PermissionError):
        return


def _ending(code: int) -> str:
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "it wrote nothing")
