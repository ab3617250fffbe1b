"""A stream host is killed: its supervisor's next one streams within ten seconds, and what was missed is fetched."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

import pytest

from livermore import processes
from livermore.core import keys
from livermore.supervisor import Role, Supervisor
from tests.support.simulation import simulated
from tests.support.stack import ROOT, Stack, stack

VENUE = "binance"
WITHIN_S = 10.0
GAPS = """
import json
from candles.models import Gap
rows = Gap.objects.filter(exchange_id="binance", from_ns__lte={killed_ns}, to_ns__gte={killed_ns})
print(json.dumps([[g.cause, g.symbol, g.from_ns, g.to_ns, g.closed_at is not None] for g in rows]))
"""


def streaming(running: Stack, epoch: int) -> bool:
    """Does a holder with this epoch stream, and did frames arrive?"""
    told = {k.decode(): v.decode() for k, v in running.state.hgetall(keys.stream(VENUE)).items()}
    is_streaming = (told.get("state"), told.get("epoch")) == ("streaming", str(epoch))
    return is_streaming and int(told.get("frames") or 0) > 0


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_killed_host_streams_again_within_ten_seconds_and_its_gap_is_filled(tmp_path):
    with simulated(VENUE, seed=5, has_episodes=False) as simulation, stack(tmp_path) as running:
        running.environment["EXCHANGE_ENDPOINTS"] = json.dumps(simulation.endpoints)
        running.worker("ticks", [f"ticks.{VENUE}.0"])
        running.worker("candles", ["candles"])
        running.worker("rest", ["signals", "default", f"backfill.{VENUE}"])
        running.beat()
        supervisor = Supervisor(tmp_path / "supervised", ROOT, print)
        role = processes.stream_host([VENUE])
        child = supervisor.start(Role(role.name, role.command, running.environment))

        def watched(condition: Any) -> Any:
            supervisor.watch()  # what `up` does about once a second
            time.sleep(0.2)
            return condition()

        try:
            running.wait("it streams", lambda: watched(lambda: streaming(running, 1)), 60)
            history = lambda: running.state.zcard(keys.candles(VENUE, "BTC-USDT", "5m"))  # noqa: E731
            running.wait("some history", lambda: watched(history), 60)
            os.kill(child.process.pid, signal.SIGKILL)
            killed_at, killed_ns = time.monotonic(), time.time_ns()
            running.wait("it streams again", lambda: watched(lambda: streaming(running, 2)), 30)
            took_s = time.monotonic() - killed_at
            print(f"streaming again {took_s:.1f} s after SIGKILL")
            assert took_s <= WITHIN_S

            def closed() -> list[Any]:
                found = running.python(GAPS.format(killed_ns=killed_ns))
                return found if found and all(row[4] for row in found) else []

            gaps = running.wait("every gap around the kill closed", lambda: watched(closed), 90)
            assert {cause for cause, *_ in gaps} == {"start"}
            assert len({name for _, name, *_ in gaps}) > 5
            print(f"{len(gaps)} gaps closed {time.monotonic() - killed_at:.1f} s after SIGKILL")
        finally:
            supervisor.stop()
