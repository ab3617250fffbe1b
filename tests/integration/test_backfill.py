"""A backfill that is killed half way: the same command once more does the rest and nothing twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

from tests.support.simulation import Running, simulated
from tests.support.stack import stack

PAGES = 12
KILLED_AT = PAGES // 2 + 1
COMMAND = ("manage.py", "backfill", "binance", "BTC-USDT", "--timeframe", "5m", "--from")
ROWS = """
import json
from candles.models import Candle
print(json.dumps(list(Candle.objects.order_by("open_ms").values_list("open_ms", "recorded_ms"))))
"""


class Counted:
    """Counts the venue's answers about klines; at one of them the process that asks is killed."""

    def __init__(self, running: Running) -> None:
        self.klines = 0
        self.victim: subprocess.Popen[bytes] | None = None
        venue = running.simulation.servers["binance"].venue
        self._honest = venue.answer
        venue.answer = self._answer  # type: ignore[method-assign]

    def _answer(self, request: web.Request) -> web.Response:
        if request.path.endswith("/klines"):
            self.klines += 1
            if self.victim is not None and self.klines == KILLED_AT:
                os.killpg(self.victim.pid, signal.SIGKILL)
        return self._honest(request)


def test_after_a_kill_at_half_the_rest_is_fetched_and_nothing_twice(tmp_path: Path) -> None:
    """O23: the first page not stored is the one during which it died; no stored one is asked for again."""
    with simulated("binance") as running, stack(tmp_path, {"EXCHANGE_ENDPOINTS": json.dumps(running.endpoints)}) as s:
        s.manage("sync_symbols", "binance")
        counted = Counted(running)
        end_ms = running.simulation.now_us() // 1000 // 300_000 * 300_000 - 300_000
        begin = _iso(end_ms - PAGES * 1000 * 300_000)
        counted.victim = s.start("backfill", *COMMAND, begin, "--to", _iso(end_ms))
        assert counted.victim.wait(60) == -signal.SIGKILL
        killed_ms = time.time_ns() // 1_000_000
        counted.victim = None
        said = s.manage(*COMMAND[1:], begin, "--to", _iso(end_ms)).stdout
        assert counted.klines == PAGES + 1  # the one during which it died was asked for twice
        assert f"{PAGES - KILLED_AT + 1} calls of weight 2" in said
        rows: list[list[int]] = s.python(ROWS)
    assert [open_ms for open_ms, _ in rows] == list(range(end_ms - PAGES * 1000 * 300_000, end_ms, 300_000))
    kept = [recorded_ms < killed_ms for _, recorded_ms in rows]
    assert kept == [False] * (PAGES - KILLED_AT + 1) * 1000 + [True] * (KILLED_AT - 1) * 1000


def _iso(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%dT%H:%M}"
