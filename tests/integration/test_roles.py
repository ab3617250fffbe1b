"""The Redis users of docker-compose.yml on a real server: each role can do its work, and no more."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from redis.backoff import NoBackoff
from redis.retry import Retry

from exchanges import registry
from livermore import embedded
from livermore.core import keys
from tests.support.simulation import simulated
from tests.support.stack import stack
from tests.support.waiting import until

ROOT = Path(__file__).resolve().parents[2]
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
ROLES = ("worker", "host", "web", "beat")


@dataclass
class Server:
    """One of the two Redis services, as its command in docker-compose.yml starts it."""

    port: int
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, service: str, folder: Path) -> Server:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        folder.mkdir()
        _, *options = (re.sub(r"\$\{(\w+):\?[^}]*\}", r"\1", word) for word in SERVICES[service]["command"])
        command = [embedded._program(), *options, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
        return cls(port, subprocess.Popen(command, stdout=subprocess.DEVNULL))

    def answers(self) -> bool:
        assert self.process.poll() is None, "it ended: the users of docker-compose.yml cannot be read"
        try:
            return bool(self.client("default").ping())
        except redis.ConnectionError:
            return False

    def url(self, role: str) -> str:
        """With the password of the role, which is here the name of its variable."""
        variable = "REDIS_PASSWORD" if role == "default" else f"REDIS_{role.upper()}_PASSWORD"
        return f"redis://{role}:{variable}@127.0.0.1:{self.port}/0"

    def client(self, role: str) -> Any:
        return redis.Redis.from_url(self.url(role))


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    folder = tmp_path_factory.mktemp("roles")
    started: dict[str, Server] = {}
    try:
        for name in ("broker", "state"):
            started[name] = Server.start(f"redis-{name}", folder / name)
            until(started[name].answers)
        yield started
    finally:
        for server in started.values():
            server.process.terminate()
            server.process.wait(timeout=10)


def refused(ask: Any) -> bool:
    """Did the server say that this user may not?"""
    try:
        ask()
    except redis.exceptions.NoPermissionError:
        return True
    return False


def test_a_stream_host_reads_nobodys_symbols_no_candle_and_no_signal(servers: dict[str, Server]) -> None:
    state = servers["state"].client("host")
    for key in (
        keys.user_candles(7, "kucoin", "BTC-USDT", "5m"), keys.candles("kucoin", "BTC-USDT", "5m"),
        keys.signals_stream(), keys.alerts_stream(), keys.tally(), keys.trades("kucoin", "BTC-USDT", 0),
    ):  # fmt: skip
        assert refused(lambda key=key: state.exists(key)), key
        assert refused(lambda key=key: state.set(key, "1")), key
        assert refused(lambda key=key: state.eval("return redis.call('GET', KEYS[1])", 1, key)), key
    assert refused(lambda: state.publish(keys.channel_signal("BTC"), "false"))
    assert not refused(lambda: state.hgetall(keys.stream("kucoin")))
    broker = servers["broker"].client("host")
    assert refused(lambda: broker.lpush("notify", "x"))
    assert refused(lambda: broker.hgetall("unacked"))


def test_beat_holds_its_own_lease_only_and_sends_no_frames(servers: dict[str, Server]) -> None:
    assert not refused(lambda: servers["state"].client("beat").get(keys.lease("beat")))
    assert refused(lambda: servers["state"].client("beat").get(keys.lease("kucoin")))
    assert refused(lambda: servers["broker"].client("beat").lpush("ticks.kucoin.0", "x"))


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", ["broker", "state"])
def test_no_role_may_empty_or_change_a_server(servers: dict[str, Server], name: str, role: str) -> None:
    client = servers[name].client(role)
    for words in (
        "FLUSHALL",
        "FLUSHDB",
        "CONFIG SET appendonly no",
        "KEYS *",
        "ACL SETUSER x",
        "SHUTDOWN",
        "REPLICAOF a 1",
    ):
        assert refused(lambda words=words: client.execute_command(*words.split())), words
    assert client.info("server")["redis_version"]


def test_without_a_password_nobody_is_let_in(servers: dict[str, Server]) -> None:
    for server in servers.values():
        with pytest.raises(redis.exceptions.AuthenticationError):
            redis.Redis(port=server.port, retry=Retry(NoBackoff(), 0)).ping()


def test_every_exchange_that_has_a_stream_service_may_tell_its_state() -> None:
    told = {word.removeprefix("~stream:") for word in SERVICES["redis-state"]["command"] if word.startswith("~stream:")}
    assert told == {"control:*", "activity:*", *registry.slugs()}


def _as(role: str, servers: dict[str, Server]) -> dict[str, str]:
    return {"CELERY_BROKER_URL": servers["broker"].url(role), "STATE_REDIS_URL": servers["state"].url(role)}


def _as(role: str, servers: dict[str, Server]) -> dict[str, str]:
    return {"CELERY_BROKER_URL": servers["broker"].url(role), "STATE_REDIS_URL": servers["state"].url(role)}


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_each_role_does_its_work_with_what_it_may(servers: dict[str, Server], tmp_path: Path) -> None:
    with simulated("binance", seed=5, has_episodes=False) as simulation:
        endpoints = {"EXCHANGE_ENDPOINTS": json.dumps(simulation.endpoints)}
        with stack(tmp_path, {**_as("worker", servers), **endpoints}) as running:
            for server in servers.values():
                server.client("default").execute_command("ACL", "LOG", "RESET")
            running.worker("all", ["ticks.binance.0", "candles", "signals", "notify", "default", "backfill.binance"])
            running.environment |= _as("beat", servers)
            running.beat()
            running.environment |= _as("host", servers)
            running.start("host", "manage.py", "stream_host", "--name", "far", "--autostart", "binance")
            state = servers["state"].client("default")
            running.wait("the stream", lambda: state.hget(keys.stream("binance"), "state") == b"streaming")
            running.wait("stored batches", lambda: state.hlen(keys.arrived("binance")))
            running.wait("what beat sent", lambda: state.get(keys.generation()))
            running.environment |= _as("web", servers)
            examined = running.manage("doctor", "--offline", "--only", "state_redis,broker,reach,hosts", check=False)
            assert examined.returncode == 0, examined.stdout
            assert denied(servers) == []
            stopped = running.manage("stop_exchange", "binance", check=False)
            assert stopped.returncode == 0, stopped.stderr
            assert denied(servers) == []


def denied(servers: dict[str, Server]) -> list[tuple[str, ...]]:
    """Who was refused what: user, reason, key or command."""
    told = [entry for server in servers.values() for entry in server.client("default").execute_command("ACL", "LOG")]
    # CLIENT SETINFO is a courtesy of the library, which a server before 7.2 counts as dangerous.
    return [
        tuple(entry[field].decode() for field in (b"username", b"reason", b"object"))
        for entry in told
        if entry[b"object"] != b"client"
    ]
