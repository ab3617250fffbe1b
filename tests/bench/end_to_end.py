"""Socket → closed candle in Redis: CPU of every process, for frames sent as fast as they are read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from tests.bench.venue_server import framed
from tests.support.stack import ROOT, Stack, stack
from tests.support.trades import BUCKET_MS, Made, make, truth

SYMBOLS = 20
LIST_SYMBOLS = """
from symbols.models import ExchangeSymbol
for native in {natives}:
    names = {{"native": native, "base": native[:-4], "quote": "USDT"}}
    ExchangeSymbol(exchange_id="binance", tier=1, quote_precision=8, **names).save()
"""
SWEEP = """
import json
from candles.tasks import sweep
sweep.delay()
print(json.dumps(1))
"""
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Run:
    """CPU seconds by process, and how long it took from the first frame to the last batch stored."""

    frames: int
    cpu_s: dict[str, float]
    ingest_s: float
    candles: int
    exact: int

    @property
    def cpu_us(self) -> float:
        """All processes, µs per frame."""
        return sum(self.cpu_s.values()) / self.frames * 1e6


def run(frames: int) -> Run:
    """One pass over a fresh deployment."""
    natives = [f"S{index:02d}USDT" for index in range(SYMBOLS)]
    open_ms = (int(time.time() * 1000) // BUCKET_MS - 2) * BUCKET_MS
    made = make(frames, natives, open_ms, buckets=1)
    with tempfile.TemporaryDirectory() as folder, stack(Path(folder)) as running:
        running.manage("shell", "--no-imports", "-c", LIST_SYMBOLS.format(natives=natives))
        frames_file, go_file = Path(folder) / "frames", Path(folder) / "go"
        frames_file.write_bytes(b"".join(framed(trade.frame()) for trade in made))
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.venue_server", str(frames_file), str(go_file)],
            cwd=ROOT, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            return _measure(running, port, go_file, made)
        finally:
            server.kill()
            server.wait()


def _measure(running: Stack, port: int, go_file: Path, made: list[Made]) -> Run:
    endpoints = {"binance": {"rest": f"http://127.0.0.1:{port}", "ws": f"ws://127.0.0.1:{port}"}}
    processes = {
        "worker ticks": running.worker("ticks", ["ticks.binance.0"]),
        "worker candles": running.worker("candles", ["candles"]),
        "stream host": running.start(
            "host", "manage.py", "stream_host", "--autostart", "binance", EXCHANGE_ENDPOINTS=json.dumps(endpoints)
        ),
    }
    pids = {name: process.pid for name, process in processes.items()}
    pids["redis (broker and store)"] = int(running.state.info("server")["process_id"])
    running.wait("streaming", lambda: running.state.hget("stream:binance", "state") == b"streaming")
    running.wait("workers ready", lambda: "ready." in running.log("ticks") and "ready." in running.log("candles"))
    time.sleep(2)  # let start-up work settle, so that only frames are measured
    before = {name: _cpu_s(pid) for name, pid in pids.items()}
    started = time.monotonic()
    go_file.touch()
    expected = truth(made)
    running.wait("every trade stored", lambda: _stored(running) == len(made), 120)
    ingest_s = time.monotonic() - started
    # Trades of a bucket that is over are due at once; nothing swept while they came, so each folds once.
    running.python(SWEEP)
    running.wait("every candle closed", lambda: len(list(running.state.scan_iter("candles:*:5m"))) == SYMBOLS, 60)
    time.sleep(0.5)
    cpu_s = {name: _cpu_s(pid) - before[name] for name, pid in pids.items()}
    found = [json.loads(running.state.zrange(key, 0, 0)[0]) for key in running.state.scan_iter("candles:*:5m")]
    by_native = {native: candle for (native, _), candle in expected.items()}
    exact = sum(_is_equal(candle, by_native[candle["symbol"].replace("-", "")]) for candle in found)
    return Run(len(made), cpu_s, ingest_s, len(found), exact)


def _is_equal(candle: dict[str, object], wanted: dict[str, object]) -> bool:
    return all(Decimal(str(candle[name])) == wanted[name] for name in wanted)


def _stored(running: Stack) -> int:
    """Trades of the forming previews: an estimate that costs the store next to nothing."""
    return sum(int(running.state.hget(key, "trades") or 0) for key in running.state.scan_iter("candle:binance:*"))


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND
