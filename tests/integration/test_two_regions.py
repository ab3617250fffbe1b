"""A stream host in another network namespace, far away and cut off for a while: no trade is lost, none is there twice.

Needs root and Linux's `ip netns`. The way is 150 ms there and back; `tc netem` loses 1 % where the kernel has it.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import redis

from candles import slab
from livermore import embedded
from livermore.core import keys
from tests.support.slow_line import slow_line
from tests.support.stack import ROOT, Stack, stack
from tests.support.waiting import until

pytestmark = [pytest.mark.services, pytest.mark.slow, pytest.mark.timeout(400)]

ONE_WAY_S = 0.075
VENUE_PORT = 9001
ENDPOINTS = f'{{"binance": {{"rest": "http://127.0.0.1:{VENUE_PORT}", "ws": "ws://127.0.0.1:{VENUE_PORT}"}}}}'


@dataclass(frozen=True)
class Line:
    """A namespace and the one line that leads there."""

    far: str
    home_if: str
    home_ip: str

    def run(self, *words: str, is_far: bool = False) -> None:
        before = ("ip", "netns", "exec", self.far) if is_far else ()
        subprocess.run([*before, *words], check=True, capture_output=True, text=True)

    def cut(self) -> None:
        """Nothing passes, and nobody is told: packets vanish."""
        self.run("ip", "link", "set", self.home_if, "down")

    def heal(self) -> None:
        self.run("ip", "link", "set", self.home_if, "up")


@pytest.fixture
def line() -> Iterator[Line]:
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("needs root and the command ip")
    number = os.getpid() % 250
    made = Line(f"far{number}", f"lvh{number}", f"10.213.{number}.1")
    far_if, far_ip = f"lvf{number}", f"10.213.{number}.2"
    try:
        made.run("ip", "netns", "add", made.far)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"network namespaces cannot be made here: {error.stderr.strip()}")
    try:
        made.run("ip", "link", "add", made.home_if, "type", "veth", "peer", "name", far_if, "netns", made.far)
        made.run("ip", "addr", "add", f"{made.home_ip}/24", "dev", made.home_if)
        made.run("ip", "addr", "add", f"{far_ip}/24", "dev", far_if, is_far=True)
        for words, is_far in (((made.home_if,), False), ((far_if,), True), (("lo",), True)):
            made.run("ip", "link", "set", *words, "up", is_far=is_far)
        netem = ("tc", "qdisc", "add", "dev", far_if, "root", "netem", "loss", "1%")
        with suppress(subprocess.CalledProcessError, FileNotFoundError):  # a kernel without it: nothing is lost
            made.run(*netem, is_far=True)
        yield made
    finally:
        subprocess.run(["ip", "netns", "del", made.far], check=False, capture_output=True)
        subprocess.run(["ip", "link", "del", made.home_if], check=False, capture_output=True)


@pytest.fixture
def home(line: Line, tmp_path: Path) -> Iterator[int]:
    """A Redis that listens on the line as well; yields its port."""
    with socket.socket() as probe:
        probe.bind((line.home_ip, 0))
        port = probe.getsockname()[1]
    options = [
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        line.home_ip,
        "--protected-mode",
        "no",
        "--dir",
        str(tmp_path),
    ]
    server = subprocess.Popen([embedded._program(), *options, "--appendonly", "yes"], stdout=subprocess.DEVNULL)
    client = redis.Redis(port=port)

    def answers() -> bool:
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            return False

    until(answers)
    yield port
    server.terminate()
    server.wait(timeout=10)


def _urls(host: str, port: int) -> dict[str, str]:
    return {"CELERY_BROKER_URL": f"redis://{host}:{port}/0", "STATE_REDIS_URL": f"redis://{host}:{port}/1"}


@pytest.fixture
def afar(line: Line, home: int) -> Iterator[int]:
    """The port under which the far side sees it."""
    with slow_line(line.home_ip, "127.0.0.1", home, ONE_WAY_S) as port:
        yield port


def _far(line: Line, running: Stack, port: int, *arguments: str) -> subprocess.Popen[bytes]:
    environment = {**running.environment, **_urls(line.home_ip, port)}
    with (running.logs / f"far-{arguments[0]}.log").open("ab") as log:
        command = ["ip", "netns", "exec", line.far, sys.executable, "manage.py", *arguments]
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL)


def _stored(state: Any) -> dict[str, list[tuple[int, int]]]:
    """By symbol, the ranges of trade ids that are stored, in order."""
    found: dict[str, list[tuple[int, int]]] = {}
    for key in state.scan_iter(match="trades:binance:*"):
        symbol = key.decode().split(":")[2]
        for stored in state.hvals(key):
            columns = slab.decode(stored)
            pairs = zip(columns.ids, columns.executions, strict=True)
            found.setdefault(symbol, []).extend((int(first), int(first) + count - 1) for first, count in pairs)
    return {symbol: sorted(ranges) for symbol, ranges in found.items()}


def test_a_partition_loses_no_trade_and_stores_none_twice(line: Line, home: int, afar: int, tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'both.sqlite3'}"  # one file for both: the line is what is tried
    given = {**_urls("127.0.0.1", home), "EXCHANGE_ENDPOINTS": ENDPOINTS, "DATABASE_URL": database}
    with stack(tmp_path / "var", given) as running:
        state = redis.Redis(port=home, db=1)
        far = [_far(line, running, afar, "simulate", "binance", "--ports", f"binance={VENUE_PORT}", "--seed", "5")]
        try:
            running.worker("ticks", ["ticks.binance.0"])
            far.append(_far(line, running, afar, "stream_host", "--name", "far", "--autostart", "binance"))
            running.wait("trades from afar", lambda: len(_stored(state)) > 5, 120)
            epoch = state.hget(keys.stream("binance"), "epoch")
            line.cut()
            spool = running.var_dir / "spool" / "binance"
            running.wait(
                "frames on the far disk", lambda: sum(f.stat().st_size for f in spool.rglob("*.seg")) > 20_000, 60
            )
            before = _stored(state)
            line.heal()
            running.wait("nothing waits any more", lambda: not list(spool.rglob("*.seg")), 120)
            running.wait("newer trades", lambda: _stored(state)["BTC-USDT"][-1] > before["BTC-USDT"][-1], 60)
            held = _stored(state)
            assert state.hget(keys.stream("binance"), "epoch") == epoch
        finally:
            for process in far:
                process.terminate()
            for process in far:
                process.wait(timeout=30)
    holes = {
        symbol: (last, first)
        for symbol, ranges in held.items()
        for (_, last), (first, _) in pairwise(ranges)
        if first != last + 1
    }
    assert holes == {}
