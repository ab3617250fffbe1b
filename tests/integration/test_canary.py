"""One process after another is frozen: readiness names its stage each time, and is ready again when it thaws."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from livermore.core import keys
from tests.support.simulation import simulated
from tests.support.stack import Stack, stack

VENUE = "binance"
WITHIN_S = 60.0


def ready(port: int) -> dict[str, Any]:
    """What /health/ready says; nothing while it does not answer."""
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", "/health/ready")
        return json.loads(connection.getresponse().read())
    except OSError:
        return {"ready": False, "stuck": None}
    finally:
        connection.close()


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """A process that holds its sockets and does nothing."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def deployed(folder: Path) -> Iterator[tuple[Stack, int]]:
    """Simulator, host, three workers, beat and a web process; the canary flies every second."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with simulated(VENUE, seed=3, has_episodes=False) as simulation, stack(folder) as running:
        running.environment |= {"EXCHANGE_ENDPOINTS": json.dumps(simulation.endpoints), "CANARY_EVERY_S": "1"}
        for name, queues in (("ticks", [f"ticks.{VENUE}.0"]), ("candles", ["candles"]), ("signals", ["signals"])):
            running.worker(name, queues)
        running.beat()
        running.start("host", "manage.py", "stream_host", "--autostart", VENUE)
        running.start("web", "-m", "uvicorn", "livermore.asgi:application", "--port", str(port), "--lifespan", "off")
        yield running, port


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_whatever_freezes_is_named(tmp_path):
    with deployed(tmp_path) as (running, port):
        is_swept = lambda: running.state.exists(keys.canary("beat"))  # noqa: E731
        running.wait("all stages move", lambda: ready(port)["ready"] and is_swept(), WITHIN_S)
        for name, stage in (
            ("ticks", f"{VENUE}.batches"), ("candles", f"{VENUE}.candles"), ("signals", f"{VENUE}.signals"),
            ("beat", "beat"), ("host", f"{VENUE}.host"), ("redis", "state_redis"),
        ):  # fmt: skip
            with frozen(running.pid(name)):
                running.wait(f"{stage} is named", lambda s=stage: stage_named(port) == s, WITHIN_S)
            running.wait(f"{name} moves again", lambda: ready(port)["ready"], WITHIN_S)
        assert not running.state.exists(keys.rejected(VENUE))
        left = {key.decode() for key in running.state.keys("*canary*")}
        assert left == {keys.canary(VENUE), keys.canary("beat")}


def stage_named(port: int) -> str | None:
    """The first stage that stands still."""
    stuck = ready(port)["stuck"]
    return stuck[0] if stuck else None
