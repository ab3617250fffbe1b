"""A real Redis Cluster for tests: three masters of the embedded server's program, each with a third of the slots."""

from __future__ import annotations

import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from livermore import embedded
from tests.support.waiting import until

MASTERS, SLOTS = 3, 16_384
BUS = 10_000
"""A node's bus listens that many ports above the node."""
PASSWORD = "of-a-test"


@dataclass(frozen=True)
class RedisCluster:
    """A running one; `state_url` is for `STATE_REDIS_URL`."""

    nodes: tuple[redis.Redis, ...]
    ports: tuple[int, ...]

    @property
    def state_url(self) -> str:
        """As contract §3 has it."""
        return f"redis://:{PASSWORD}@127.0.0.1:{self.ports[0]}/0?cluster=true"

    def refused(self) -> Counter[str]:
        """How often a node refused a command because of where its keys are, by the reason it gave."""
        found: Counter[str] = Counter()
        for node in self.nodes:
            for name, counted in node.info("errorstats").items():
                if name.removeprefix("errorstat_") in ("MOVED", "ASK", "CROSSSLOT", "TRYAGAIN", "CLUSTERDOWN"):
                    found[name.removeprefix("errorstat_")] += counted["count"]
        return found


@contextmanager
def cluster(folder: Path) -> Iterator[RedisCluster]:
    """Start one, wait until it agrees with itself, and end it."""
    ports = _ports()
    processes = [_start(folder / str(port), port) for port in ports]
    nodes = tuple(redis.Redis(port=port, password=PASSWORD) for port in ports)
    try:
        for at, node in enumerate(nodes):
            until(lambda n=node: _answers(n))
            node.execute_command("CLUSTER", "SET-CONFIG-EPOCH", at + 1)
            node.execute_command("CLUSTER", "ADDSLOTS", *range(at * SLOTS // MASTERS, (at + 1) * SLOTS // MASTERS))
        for port in ports[1:]:
            nodes[0].execute_command("CLUSTER", "MEET", "127.0.0.1", port)
        until(lambda: all(_agrees(node) for node in nodes))
        for node in nodes:
            node.config_resetstat()
        yield RedisCluster(nodes, tuple(ports))
    finally:
        for node in nodes:
            node.close()
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(timeout=10)


def _start(folder: Path, port: int) -> subprocess.Popen[bytes]:
    folder.mkdir(parents=True)
    options = {
        "port": port, "bind": "127.0.0.1", "dir": folder, "cluster-enabled": "yes", "requirepass": PASSWORD,
        "masterauth": PASSWORD, "save": "", "appendonly": "no", "cluster-node-timeout": 60_000,
    }  # fmt: skip
    arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen([embedded._program(), *arguments], stdout=log, stderr=log, stdin=subprocess.DEVNULL)


def _ports() -> list[int]:
    """Free ones, whose buses are free as well."""
    found: list[int] = []
    while len(found) < MASTERS:
        with socket.socket() as probe, socket.socket() as bus:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1] - BUS
            try:
                bus.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found


def _answers(node: redis.Redis) -> bool:
    try:
        return bool(node.ping())
    except redis.ConnectionError:
        return False


def _agrees(node: redis.Redis) -> bool:
    said = node.execute_command("CLUSTER", "INFO")
    said = said if isinstance(said, dict) else dict(line.split(":") for line in said.decode().split("\r\n") if line)
    return said["cluster_state"] == "ok" and int(said["cluster_known_nodes"]) == MASTERS
