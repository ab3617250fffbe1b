"""A deployment beside running simulators, as the end-to-end tests need it."""

from __future__ import annotations

import json
from typing import Any

from livermore.core import keys
from tests.support.simulation import Running
from tests.support.stack import Stack

VENUES = ("binance", "binance_us", "coinbase")


def deploy(running: Stack, simulation: Running) -> None:
    """Workers, beat and an idle host beside running simulators."""
    running.environment["EXCHANGE_ENDPOINTS"] = json.dumps(simulation.endpoints)
    running.worker("ticks", [f"ticks.{slug}.0" for slug in VENUES])
    running.worker("candles", ["candles"])
    running.worker("rest", ["signals", "default", *(f"backfill.{slug}" for slug in VENUES)])
    running.beat()
    running.start("host", "manage.py", "stream_host", "--name", "e2e")
    running.wait("the host is up", lambda: running.state.zscore(keys.hosts(), "e2e"))


def told(running: Stack, *arguments: str) -> Any:
    """What a command says in JSON."""
    return json.loads(running.manage(*arguments, "--json").stdout.strip().splitlines()[-1])


def start_all(running: Stack) -> None:
    for slug in VENUES:
        said = told(running, "start_exchange", slug, "--wait", "40")
        assert said["exchange"] == slug
        assert said["state"] == "streaming"
        assert said["symbols"] > 5


def streamed(running: Stack) -> dict[tuple[str, str], str]:
    """(exchange, native) → canonical name of everything that is streamed."""
    rows = running.python(
        "import json\nfrom symbols import services\n"
        f"print(json.dumps([[s, n, c] for s in {VENUES} for n, c in services.streamed_names(s).items()]))"
    )
    return {(slug, native): name for slug, native, name in rows}
