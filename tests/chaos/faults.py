"""The faults, each a function that lets one happen across a border of buckets, and the table of them."""

from __future__ import annotations

import base64
import json
import os
import random
import resource
import shlex
import signal
import sqlite3
import subprocess
import uuid
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from livermore import processes
from tests.chaos.noise import noise
from tests.chaos.world import VENUES, WORKERS, World

BUSY = 3_000
"""Trades at one moment, so that a worker is killed at work."""
REPAIR_WITHIN_S = 375.0
"""Five minutes; and the bucket into which a gap's margin reaches has to end, be settled and be looked at first."""
COMPARED_WITHIN_S = 3600.0
"""Symbols take turns of a minute to be compared with the venue's klines, and here nearly all have something to mend."""
RESTART = "CHAOS_DATABASE_RESTART"
"""The command that restarts the database that was given."""


@dataclass(frozen=True)
class Fault:
    """`act(world, is_short)` begins some seconds before a border and leaves everything running again.

    `unsure` are (exchange, field) that no witness could ever tell. All must be repaired after `patience_s`.
    `full_only` says why the short form leaves it out, `known` which mistake of ours it shows until that is mended.
    """

    name: str
    act: Callable[[World, bool], None]
    unsure: frozenset[tuple[str, str]] = frozenset()
    patience_s: float = REPAIR_WITHIN_S
    full_only: str = ""
    known: str = ""


def worker_killed(world: World, is_short: bool) -> None:
    """SIGKILL of the workers that ingest and close, at work; their successors come 40 s later."""
    world.burst(BUSY)
    for name in ("ticks", "candles"):
        world.kill(name)
    world.advance(40)
    for name in ("ticks", "candles"):
        world.start(name)


def worker_stopped(world: World, is_short: bool) -> None:
    """SIGSTOP of the same, for a real minute (short: 5 s), and SIGCONT."""
    world.burst(BUSY)
    for name in ("ticks", "candles"):
        world.signal(name, signal.SIGSTOP)
    world.advance(40)
    world.hold(5 if is_short else 60)
    for name in ("ticks", "candles"):
        world.signal(name, signal.SIGCONT)


def worker_out_of_memory(world: World, is_short: bool) -> None:
    """The same may take no more memory (RLIMIT_AS at what they have), and then the kernel's killer comes."""
    for name in ("ticks", "candles"):
        with open(f"/proc/{world.pid(name)}/statm") as told:
            pages = int(told.read().split()[0])
        limit = pages * resource.getpagesize()
        resource.prlimit(world.pid(name), resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    world.burst(BUSY)
    world.advance(40)
    for name in ("ticks", "candles"):
        world.kill(name)
        world.start(name)


def broker_restarted(world: World, is_short: bool) -> None:
    """The broker ends in good order and is back at once."""
    world.burst(BUSY)
    world.end_server("broker")
    world.server("broker")
    world.advance(40)


def broker_gone(world: World, is_short: bool) -> None:
    """The broker is away for two real minutes (short: 6 s)."""
    world.end_server("broker")
    world.advance(40)
    world.hold(3 if is_short else 117)
    world.server("broker")


def state_restarted(world: World, is_short: bool) -> None:
    """The state Redis ends in good order, and is back 20 s later."""
    world.burst(BUSY)
    world.end_server("state")
    world.advance(20)
    world.server("state")
    world.advance(20)


def state_flushed(world: World, is_short: bool) -> None:
    """FLUSHALL: slabs, windows, leases, everything."""
    world.stack.state.flushall()
    world.advance(40)


def database_away(world: World, is_short: bool) -> None:
    """PostgreSQL: restarted by the command in CHAOS_DATABASE_RESTART. SQLite has no server to restart: somebody
    holds the only write lock for longer than its writers wait (25 s; short: 6 s)."""
    url = world.stack.environment["DATABASE_URL"]
    if not url.startswith("sqlite"):
        world.advance(25)
        subprocess.run(shlex.split(os.environ[RESTART]), check=True, capture_output=True)
        world.advance(20)
        return
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None, timeout=20)) as locked:
        locked.execute("BEGIN EXCLUSIVE")
        world.advance(40)
        world.hold(5 if is_short else 25)
        locked.execute("ROLLBACK")


def host_killed(world: World, is_short: bool) -> None:
    """SIGKILL of the stream host; its successor comes 30 s later."""
    world.burst(BUSY)
    world.kill("host")
    world.advance(30)
    world.start("host")


def host_ended(world: World, is_short: bool) -> None:
    """SIGTERM of the stream host under load; the next one comes at once."""
    world.burst(BUSY)
    world.end("host")
    world.start("host")
    world.advance(30)


def sockets_cut(world: World, is_short: bool) -> None:
    """All sockets are reset 10 s before the border, and nobody gets in for 40 s."""
    world.advance(10)
    for slug in VENUES:
        world.sim.fault(slug, "handshake", status=503, for_s=40)
        world.sim.fault(slug, "abort")
    world.advance(44)


def messages_twice(world: World, is_short: bool) -> None:
    """Every message of 40 s is delivered twice."""
    _while_nobody_works(world, lambda messages: [m for one in messages for m in (one, _again(one))])


def messages_shuffled(world: World, is_short: bool) -> None:
    """The messages of 40 s are delivered in any order."""
    _while_nobody_works(world, lambda messages: random.sample(messages, len(messages)))


def trades_late(world: World, is_short: bool) -> None:
    """5 % of the frames come up to 40 s late."""
    with noise(world, late=0.05) as made:
        world.advance(60)
    assert made.count


def trades_twice(world: World, is_short: bool) -> None:
    """10 % of the frames come twice."""
    with noise(world, twice=0.10) as made:
        world.advance(60)
    assert made.count


def prices_corrupted(world: World, is_short: bool) -> None:
    """1 % of the frames bear a wrong price, near enough to be believed."""
    with noise(world, wrong=0.01) as made:
        world.advance(60)
    assert made.count


def two_hosts(world: World, is_short: bool) -> None:
    """The leases are lost and a second host takes them, while the first one still streams; the second one stays."""
    world.usurp()


def _while_nobody_works(world: World, changed: Callable[[list[bytes]], list[bytes]]) -> None:
    """What the broker holds after 40 s without workers, and how it is changed before they go on."""
    for name in WORKERS:
        world.signal(name, signal.SIGSTOP)
    try:
        world.advance(40)
        with world.broker as broker:
            for name in WORKERS:
                for queue in processes.queues(processes.WORKERS[name], VENUES):
                    if messages := broker.lrange(queue, 0, -1):
                        pipe = broker.pipeline()
                        pipe.delete(queue)
                        pipe.rpush(queue, *changed(messages))
                        pipe.execute()
    finally:
        for name in WORKERS:
            world.signal(name, signal.SIGCONT)


def _again(message: bytes) -> bytes:
    """The same message as another delivery."""
    copy: dict[str, Any] = json.loads(message)
    copy["properties"]["delivery_tag"] = str(uuid.uuid4())
    assert base64.b64decode(copy["body"])
    return json.dumps(copy).encode()


FAULTS = (
    Fault("worker SIGKILL", worker_killed),
    Fault("worker SIGSTOP and SIGCONT", worker_stopped),
    Fault("worker out of memory", worker_out_of_memory),
    Fault("broker restarted", broker_restarted),
    Fault("broker gone", broker_gone),
    Fault("state Redis restarted", state_restarted),
    Fault("database away", database_away),
    Fault("stream host SIGKILL", host_killed),
    Fault("stream host SIGTERM", host_ended),
    Fault("sockets cut at a border", sockets_cut),
    Fault("messages twice", messages_twice),
    Fault("messages shuffled", messages_shuffled),
    Fault("two hosts", two_hosts),
    Fault("trades late", trades_late),
    Fault("trades twice", trades_twice),
    Fault(
        "prices corrupted",
        prices_corrupted,
        frozenset({("coinbase", "turnover")}),
        COMPARED_WITHIN_S,
        full_only="being compared with klines is a matter of turns, up to an hour",
    ),
    Fault("state Redis flushed", state_flushed),
)
