"""The deployment that the faults befall: Redis twice, workers, beat, a stream host, simulated venues, one clock."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import redis

from livermore import embedded, processes
from livermore.core import keys
from tests.chaos.clock import Clock
from tests.support.simulation import Running, simulated
from tests.support.stack import Stack, stack
from tests.support.waiting import until

VENUES = ("binance", "coinbase", "kucoin", "mexc")
"""One of each kind: trades again by id, by time, only the last hundred, none at all and no ids either."""
BUCKET_MS = 300_000
DAY_MS = 86_400_000
STEP_S = 4.0
HOLD_S = 0.04
"""So much passes at once (the shortest silence that ends a conversation is 5 s), and so long the processes then have
to follow."""
PATIENT_HOLD_S = 0.4
"""The same while somebody connects, which no clock can hurry."""
PACE = 0.35
VISIBILITY_TIMEOUT_S = 180
"""The least that a deployment accepts (`livermore.E003`)."""
WORKERS = ("ticks", "candles", "signals", "io")
_ONLY_CANDLES = """
from django_celery_beat.models import PeriodicTask
print(PeriodicTask.objects.filter(name__regex=r"^(watch|notify)\\.").update(enabled=False))
"""
"""Hours pass in minutes: what looks on every second would keep the workers from what is tried here."""


class World:
    """Everything a fault may lay hands on. `advance` lets time pass, for the venues and for the deployment at once."""

    def __init__(self, running: Stack, sim: Running, clock: Clock, servers: dict[str, subprocess.Popen[bytes]]) -> None:
        self.stack, self.sim, self.clock = running, sim, clock
        self.var_dir = running.var_dir
        self.steps: list[Callable[[int], None]] = []
        """Called with the time (µs UTC) after every step; a fault may add to them."""
        self._servers = servers
        self._host, self._host_ms = 1, 0
        sim.call(self._tie)

    def _tie(self) -> None:
        """The venues' own periods, too, are of the time that passes here."""
        simulation = self.sim.simulation
        for server in simulation.servers.values():
            server.stage.clock_s = lambda: simulation.market.now_us / 1e6

    # ---- time ------------------------------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        """Let so much pass, in steps; at each border the stream host gets the time to say that it is well."""
        until_ms = self.clock.now_ms + round(seconds * 1000)
        while (left_ms := until_ms - self.clock.now_ms) > 0:
            before = self.clock.now_ms // BUCKET_MS
            to_border_ms = (before + 1) * BUCKET_MS + 100 - self.clock.now_ms
            self.clock.shift(min(left_ms, STEP_S * 1000, to_border_ms) / 1000)
            self.follow()
            if self.clock.now_ms // BUCKET_MS > before:
                self._hear(self.clock.now_ms // BUCKET_MS * BUCKET_MS)

    def follow(self) -> None:
        """The venues trade up to now, and what they sent is on its way."""
        youngest_s = self.sim.call(self._trade)
        self.sim.drained()
        time.sleep(PATIENT_HOLD_S if youngest_s < 3 * STEP_S else HOLD_S)

    def hold(self, seconds: float) -> None:
        """Real time, at its own pace: for what no clock can hurry."""
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            self.follow()

    def to_border(self, seconds: float) -> None:
        """Advance until so long before (below 0) or after a border of buckets."""
        now_ms = self.clock.now_ms
        target_ms = now_ms - now_ms % BUCKET_MS + round(seconds * 1000)
        while target_ms <= now_ms:
            target_ms += BUCKET_MS
        self.advance((target_ms - now_ms) / 1000)

    def _trade(self) -> float:
        """Bring the venues up to now; the age of their youngest connection."""
        simulation = self.sim.simulation
        span_s = self.clock.now_ns / 1e9 - simulation.market.now_us / 1e6
        if span_s > 0:
            simulation.advance(span_s)
        for step in self.steps:
            step(simulation.market.now_us)
        for server in simulation.servers.values():
            server.tick()
        opened = [c.opened_s for server in simulation.servers.values() for c in server.stage.connections]
        return simulation.market.now_us / 1e6 - max(opened, default=0.0)

    def _hear(self, border_ms: int) -> None:
        """The host speaks once a second, which at our pace may be too seldom to witness a border."""
        deadline = time.monotonic() + 2.5
        while time.monotonic() < deadline:
            told = [self.told(slug) for slug in VENUES]
            if not all(told) or all(int(fields.get("updated_ms") or 0) >= border_ms for fields in told):
                return
            self.follow()

    # ---- processes -------------------------------------------------------------------------------

    def start(self, name: str) -> None:
        """Start a worker, beat or the stream host, as it is started in production."""
        if name == "host":
            # The system's clock stamps files; a host takes an old lifeline for one that nobody needs any more.
            self.clock.stamp((self.var_dir / "leases").glob("*.lock"))
            options = ("--name", f"chaos-{self._host}", "--autostart", ",".join(VENUES))
            self.stack.start(name, "manage.py", "stream_host", *options)
            self._host_ms = self.clock.now_ms
            return
        role = processes.beat() if name == "beat" else processes.worker(name, VENUES)
        self.stack.start(name, *role.command[1:])

    @property
    def has_died(self) -> list[str]:
        """Who is not there although it should be."""
        return [name for name, process in self.stack._processes.items() if process.poll() is not None]

    def pid(self, name: str) -> int:
        return self.stack._processes[name].pid

    def kill(self, name: str) -> None:
        """SIGKILL."""
        self.stack.kill(name)

    def signal(self, name: str, number: signal.Signals) -> None:
        """To the whole process group."""
        os.killpg(self.pid(name), number)

    def end(self, name: str, within_s: float = 20.0) -> None:
        """SIGTERM, and wait for the end."""
        process = self.stack._processes[name]
        process.terminate()
        process.wait(within_s)

    def usurp(self) -> None:
        """A second host takes all leases, which are lost, while the first one streams on; then the first one ends."""
        first, mark = self.stack._processes["host"], f"chaos-{self._host}/".encode()
        self._host += 1
        self.start("host")

        def has_all() -> bool:
            held = {key: self.stack.state.get(key) or mark for key in map(keys.lease, VENUES)}
            if lost := [key for key, holder in held.items() if holder.startswith(mark)]:
                self.stack.state.delete(*lost)
            return not lost

        until(has_all, within_s=30)
        self.advance(44)
        first.terminate()
        first.wait(20)

    def burst(self, count: int) -> None:
        """So many trades more, now; the processes have only begun to work on them."""
        self.sim.call(self.sim.simulation.burst, count)
        self.sim.drained()
        time.sleep(HOLD_S)

    def server(self, name: str) -> None:
        """Start the Redis of that name ("broker" or "state") again, where it was."""
        self._servers[name] = embedded.start(self.var_dir / name)

    def end_server(self, name: str) -> None:
        """Stop a Redis server in good order."""
        self._servers[name].terminate()
        self._servers[name].wait(timeout=20)

    @property
    def broker(self) -> redis.Redis:
        """A client of the broker."""
        return redis.Redis.from_url(self.stack.environment["CELERY_BROKER_URL"])

    # ---- seeing ----------------------------------------------------------------------------------

    def told(self, slug: str) -> dict[str, str]:
        """What the host says of a stream; nothing while nobody says anything."""
        with suppress(redis.RedisError):
            return {k.decode(): v.decode() for k, v in self.stack.state.hgetall(keys.stream(slug)).items()}
        return {}

    def is_streaming(self) -> bool:
        """Do all venues stream again?"""
        told = [self.told(slug) for slug in VENUES]
        is_told = all(int(fields.get("updated_ms") or 0) > self._host_ms for fields in told)
        return is_told and all(fields["state"] in ("streaming", "degraded") for fields in told)

    def until_streaming(self, within_s: float = 60.0) -> None:
        """Real time passes until all venues stream."""
        deadline = time.monotonic() + within_s
        while not self.is_streaming():
            assert time.monotonic() < deadline, {slug: self.told(slug) for slug in VENUES}
            self.follow()

    def until_idle(self, within_s: float = 90.0) -> None:
        """Real time passes until every task of the venues' REST is done: their budgets are counted in real time."""
        deadline = time.monotonic() + within_s
        queues = processes.queues(processes.WORKERS["io"], VENUES)
        with self.broker as broker:
            while any(broker.llen(queue) for queue in queues) or broker.hlen("unacked"):
                assert time.monotonic() < deadline, "the history is not there"
                self.follow()


@contextmanager
def world(var_dir: Path, seed: int = 11, *, keep: bool = False) -> Iterator[World]:
    """A deployment that streams every venue, some minutes before the end of a day; `keep` keeps its folder."""
    start_ms = (time.time_ns() // 1_000_000 // DAY_MS + 1) * DAY_MS - 30 * 60_000 + 20_000
    if start_ms < time.time_ns() // 1_000_000 + 60_000:
        start_ms += DAY_MS
    var_dir.mkdir(parents=True, exist_ok=True)
    servers = {name: embedded.start(var_dir / name) for name in ("broker", "state")}
    given = {
        "CELERY_BROKER_URL": embedded.url(var_dir / "broker", 0),
        "STATE_REDIS_URL": embedded.url(var_dir / "state", 0),
        "DATABASE_URL": os.environ.get("DATABASE_URL") or f"sqlite:///{var_dir / 'livermore.sqlite3'}",
    }
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        with (
            simulated(*VENUES, seed=seed, start_ms=start_ms, is_paused=True, has_episodes=False, pace=PACE) as sim,
            stack(var_dir) as running,
        ):
            made = World(running, sim, Clock(var_dir, start_ms), servers)
            running.environment |= made.clock.environment | {
                "EXCHANGE_ENDPOINTS": json.dumps(sim.endpoints),
                "BROKER_VISIBILITY_TIMEOUT_S": str(VISIBILITY_TIMEOUT_S),
            }
            running.python(_ONLY_CANDLES)
            try:
                for name in (*WORKERS, "beat", "host"):
                    made.start(name)
                made.until_streaming()
                made.until_idle()
                yield made
            finally:
                for process in running._processes.values():
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)  # it owes nobody a good end
                    process.wait(10)
    finally:
        for server in servers.values():
            server.terminate()
            server.wait(20)
        if not keep:
            shutil.rmtree(var_dir)
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
