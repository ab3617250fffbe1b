"""One run of everything on this machine: start, serve, stop."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management import CommandError, call_command

from exchanges import registry
from exchanges.models import Exchange
from livermore import embedded, endpoints, first_admin, local_secret, processes, readiness
from livermore.celery import app
from livermore.child_logs import ErrorTail, trim
from livermore.command_line import USAGE
from livermore.core.errors import StoreUnavailable
from livermore.supervisor import Role, Supervisor, in_child
from livermore.version import version
from livermore.watchdog import Watchdog

_STEP_S = 0.2
_LOOK_EVERY_S = 1.0
_SAY_MISSING_EVERY_S = 15.0
_SAY_ALIVE_EVERY_S = 60.0
_SIMULATORS_WITHIN_S = 60.0
_FIRST_SIGNAL_WITHIN_S = 180.0
_SAME_CTRL_C_S = 2.0


class Stopped(Exception):
    """Someone asked us to stop."""


class Run:
    """One run from start to stop."""

    def __init__(self, show: Callable[[str], None], *, has_flower: bool, seed: int | None) -> None:
        self._show = show
        self._has_flower = has_flower
        self._seed = seed
        self._begun = time.monotonic()
        self._signalled: list[float] = []
        # Children run in the project's folder, wherever we were started.
        self._var = settings.VAR_DIR.resolve()
        self._logs = self._var / "log"
        self._children = Supervisor(self._logs, processes.BASE_DIR, self._say)
        self._errors = ErrorTail(self._logs)
        self._watchdog: Watchdog | None = None
        self._checks: dict[str, Callable[[], str]] = {}
        self._refused: set[str] = set()
        self._web_port = 0

    def whole_life(self, wanted: list[str], *, is_live: bool) -> None:
        """Start, serve, stop."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        try:
            url = self._start(wanted, is_live=is_live)
            self._until_ready(url)
            self._until_first_candles()
            self._serve()
        except Stopped:
            pass  # an orderly way to leave every stage
        finally:
            self._stop()

    # ---- starting ------------------------------------------------------------------------------

    def _start(self, wanted: list[str], *, is_live: bool) -> str:
        self._say(f"Livermore {version()}: data in {self._var}, logs in {self._logs}")
        os.environ["LIVERMORE_VAR"] = str(self._var)
        self._start_redis()
        call_command("migrate", verbosity=0)
        slugs = _chosen(wanted)
        simulated = [] if is_live else [slug for slug in slugs if slug not in settings.EXCHANGE_ENDPOINTS]
        others = sorted(set(slugs) - set(simulated))
        self._say(f"Simulated: {' '.join(simulated) or 'none'}; live: {' '.join(others) or 'none'}")
        self._start_simulators(simulated)
        url = self._start_work(slugs)
        self._children.start(processes.stream_host(slugs))
        self._checks["streams"] = partial(self._missing_streams, slugs)
        self._say(f"Web      {url} (admin: {url}admin/, API: {url}api/v1/docs)")
        if self._has_flower:
            secret = self._var / "flower_password"
            self._say(f"Flower   {settings.FLOWER_URL} (user admin, password {local_secret.text(secret)})")
        # Last: what is created here is told in the same breath, whatever interrupts the start.
        self._say(first_admin.how_to_log_in(first_admin.create()))
        return url

    def _start_redis(self) -> None:
        if not settings.NEEDS_EMBEDDED_REDIS:
            return
        if embedded.is_running(self._var):
            self._say("Redis    already running")
        else:
            prepare = partial(in_child, os.getpid(), signal.SIGTERM, {})
            launch = partial(embedded.start, self._var, in_child=prepare)
            try:
                self._children.start(Role("redis", launch=launch, stop_rank=processes.STORE, stop_within_s=3.0))
            except StoreUnavailable as error:
                raise CommandError(str(error)) from error
        # The settings were read before the server had an address.
        settings.CELERY_BROKER_URL = app.conf.broker_url = self._unless_embedded(settings.CELERY_BROKER_URL, 0)
        settings.STATE_REDIS_URL = self._unless_embedded(settings.STATE_REDIS_URL, 1)

    def _unless_embedded(self, url: str, database: int) -> str:
        """The configured address, or the embedded server's now that it has one."""
        is_embedded = url.startswith("redis://:" + local_secret.text(self._var / "redis" / "password"))
        return embedded.url(self._var, database) if is_embedded else url

    def _start_simulators(self, slugs: list[str]) -> None:
        served = dict(settings.EXCHANGE_ENDPOINTS)
        if slugs:
            file = self._var / "simulators.json"
            file.unlink(missing_ok=True)
            self._children.start(processes.simulators(slugs, file, self._seed))
            served |= self._addresses(file)
        os.environ["EXCHANGE_ENDPOINTS"] = json.dumps(served)
        endpoints.tell(self._var, served)

    def _addresses(self, file: Path) -> dict[str, Any]:
        deadline = time.monotonic() + _SIMULATORS_WITHIN_S
        while time.monotonic() < deadline:
            self._pause()
            with suppress(OSError, ValueError):
                return dict(json.loads(file.read_text()))
        raise CommandError(f"the simulators did not start; see {self._children.log_of('simulators')}")

    def _start_work(self, slugs: list[str]) -> str:
        if self._has_flower:
            port = _free_port(5555)
            password = local_secret.text(self._var / "flower_password")
            settings.FLOWER_URL = f"http://{processes.LOOPBACK}:{port}/flower/"
            self._children.start(processes.flower(port, password))
            self._checks["Flower"] = partial(readiness.page, port, "/flower/healthcheck")
        for name in processes.WORKERS:
            self._children.start(processes.worker(name, slugs))
        self._watchdog = Watchdog(self._children, slugs, self._say)
        self._checks["workers"] = partial(readiness.workers, processes.WORKERS)
        self._children.start(processes.beat())
        port = _free_port(8000)
        self._children.start(processes.web(port, settings.FLOWER_URL))
        self._checks["web"] = partial(readiness.page, port, "/health/live")
        self._web_port = port
        return f"http://{processes.LOOPBACK}:{port}/"

    # ---- running -------------------------------------------------------------------------------

    def _until_ready(self, url: str) -> None:
        said = time.monotonic()
        while missing := self._missing():
            if time.monotonic() - said > _SAY_MISSING_EVERY_S:
                self._say(f"Waiting  {'; '.join(missing)}")
                said = time.monotonic()
            self._pause(_LOOK_EVERY_S)
        for slug in sorted(self._refused):
            self._say(f"{slug} is refused from here; see the log of streams")
        self._say(f"Livermore is ready: {url} after {time.monotonic() - self._begun:.0f} s; Ctrl-C stops it")

    def _until_first_candles(self) -> None:
        """Say how far it is until there is something of everything to see, or it takes too long."""
        begun, said, shown = time.monotonic(), 0.0, None
        while time.monotonic() - begun < _FIRST_SIGNAL_WITHIN_S:
            counts = readiness.counts()
            if all(counts):
                self._say(f"{_shown(counts)}: everything is on screen after {time.monotonic() - self._begun:.0f} s")
                return
            if counts != shown and time.monotonic() - said > _SAY_MISSING_EVERY_S:
                self._say(_shown(counts))
                said, shown = time.monotonic(), counts
            self._pause(_LOOK_EVERY_S)

    def _serve(self) -> None:
        while True:
            self._pause(_SAY_ALIVE_EVERY_S)
            trim(self._logs)
            memory = readiness.memory_mb([os.getpid(), *self._children.pids])
            minutes = (time.monotonic() - self._begun) / 60
            self._say(f"{minutes:.0f} min  {_shown(readiness.counts())} · {memory} MB")

    def _missing(self) -> list[str]:
        """What does not answer yet; whether data moves is asked only when everything else is there."""
        missing = [f"{name}: {why}" for name, check in self._checks.items() if (why := check())]
        return missing or [why for why in (readiness.page(self._web_port, "/health/ready"),) if why]

    def _missing_streams(self, slugs: list[str]) -> str:
        missing, refused = readiness.streams(slugs)
        self._refused.update(refused)
        return missing

    def _pause(self, seconds: float = _STEP_S) -> None:
        """Let time pass while watching over the children; raises `Stopped` when asked to stop."""
        until = time.monotonic() + seconds
        while True:
            if self._signalled:
                raise Stopped
            self._children.watch()
            if self._watchdog is not None:
                self._watchdog.look()
            for error in self._errors.new_errors():
                self._say(f"  {error}")
            if time.monotonic() >= until:
                return
            time.sleep(_STEP_S)

    # ---- stopping ------------------------------------------------------------------------------

    def _stop(self) -> None:
        self._say("Stopping")
        endpoints.withdraw(self._var)
        begun = time.monotonic()
        killed = self._children.stop(is_urgent=self._is_urgent)
        if killed:
            self._say(f"Killed, because slow: {', '.join(killed)}")
        self._say(f"Stopped in {time.monotonic() - begun:.0f} s")

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signalled.append(time.monotonic())

    def _is_urgent(self) -> bool:
        """Ctrl-C again, not merely the same one by two ways."""
        times = self._signalled
        return len(times) > 1 and times[-1] - times[0] > _SAME_CTRL_C_S

    def _say(self, text: str) -> None:
        # A closed terminal must not keep us from stopping the children.
        with suppress(OSError, ValueError):
            self._show(text)


def _chosen(wanted: list[str]) -> list[str]:
    enabled = set(Exchange.objects.filter(enabled=True).values_list("slug", flat=True)) & set(registry.slugs())
    if disabled := sorted(set(wanted) - enabled):
        raise CommandError(
            f"{' '.join(disabled)} is disabled in the admin; accepted: {' '.join(sorted(enabled))}", returncode=USAGE
        )
    return sorted(set(wanted) or enabled)


def _free_port(preferred: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):
            probe.bind((processes.LOOPBACK, preferred))
            return preferred
        probe.bind((processes.LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _shown(counts: readiness.Counts) -> str:
    return f"{counts.series} candle series · {counts.macdv} MACD-V · {counts.signals} signals"
