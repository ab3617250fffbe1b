"""`python -m tests.bench.load`: a minute of ticks from simulator to slabs beside the truth; what a neighbour notices.

One host, one worker of ticks and one of candles, as on one machine; with `--apart` a host and a worker of ticks for
each venue. First both venues trade calmly, then Binance at the asked rate. Ages are measured where a page would hear
of a trade: from when its frame was received (Binance's queue), from when the simulator sent it (Coinbase). The
simulator's CPU is this process's, and it is told when it fell behind.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import django
import msgspec

STEP_S = 0.1
LOADED, NEIGHBOUR = "binance", "coinbase"
VENUES = (LOADED, NEIGHBOUR)
BUCKET_MS = 300_000
LATEST_START_MS = 150_000
"""So late in a bucket the run would not fit into what is left of it, and the bucket would be folded while it grows."""


class Listener(threading.Thread):
    """Hears of new last trades; `ages` are (phase, exchange) → seconds."""

    def __init__(self, state: Any, start_ms: int) -> None:
        super().__init__(daemon=True)
        self._heard = state.pubsub(ignore_subscribe_messages=True)
        self._heard.psubscribe("channel:ticker:*")
        self._start_ms = start_ms
        self.sent_s: list[float] = []  # when each step of the market left
        self.phase = "quiet"
        self.is_over = threading.Event()
        self.ages: dict[tuple[str, str], list[float]] = {}

    def run(self) -> None:
        while not self.is_over.is_set():
            message = self._heard.get_message(timeout=0.2)
            if message is None:
                continue
            now_s = time.time()
            said = msgspec.json.decode(message["data"])
            exchange = said["exchange"]
            self.ages.setdefault((f"{self.phase}: received → shown", exchange), []).append(
                now_s - said["received_ms"] / 1000
            )
            step = int((said["time_ms"] - self._start_ms) / 1000 / STEP_S)
            if 0 <= step < len(self.sent_s):
                self.ages.setdefault((f"{self.phase}: sent → shown", exchange), []).append(now_s - self.sent_s[step])


def trade(sim: Any, listener: Listener, seconds: float, per_s: int) -> tuple[int, float]:
    """Prints made, and how far behind its schedule the simulator came, at worst."""
    began_s, made, behind_s = time.monotonic(), 0, 0.0
    for step in range(round(seconds / STEP_S)):
        listener.sent_s.append(time.time())
        if per_s:
            sim.call(sim.simulation.burst, round(per_s * STEP_S), over_s=STEP_S, venues=[LOADED])
            made += round(per_s * STEP_S)
        else:
            sim.call(sim.simulation.advance, STEP_S)
        left_s = began_s + (step + 1) * STEP_S - time.monotonic()
        behind_s = max(behind_s, -left_s)
        time.sleep(max(0.0, left_s))
    return made, behind_s


def different(running: Any, sim: Any, names: list[list[str]], start_ms: int) -> list[str]:
    """The buckets whose folded slabs are not the truth; every field that the simulator knows."""
    from candles.fold import fold
    from candles.slab import decode
    from livermore.core import keys

    wrong = []
    for slug, native, name in names:
        truth = sim.call(sim.simulation.truth, slug, native, start_ms)
        slabs = running.state.hgetall(keys.trades(slug, name, start_ms))
        found = fold({field.decode(): decode(stored) for field, stored in slabs.items()})
        if truth.trades == 0 and found is None:
            continue
        fields = ("open", "high", "low", "close", "volume", "taker_buy_volume", "trades")
        if found is None or any(getattr(found, f) != getattr(truth, f) for f in fields):
            wrong.append(f"{slug} {name}: {found and found.trades} trades of {truth.trades}")
    return wrong


def deployed(running: Any, is_apart: bool) -> dict[str, Any]:
    """The processes by name."""
    processes = {
        "worker candles": running.worker("candles", ["candles", "signals"]),
        "worker io": running.worker("io", ["default", *(f"backfill.{slug}" for slug in VENUES)]),
        "beat": running.beat(),
    }
    for slugs in [(slug,) for slug in VENUES] if is_apart else [VENUES]:
        name = "-".join(slugs)
        processes[f"worker ticks {name}"] = running.worker(f"ticks-{name}", [f"ticks.{slug}.0" for slug in slugs])
        processes[f"host {name}"] = running.start(
            f"host-{name}", "manage.py", "stream_host", "--name", name, "--autostart", ",".join(slugs)
        )
    return processes


def measure(per_s: int, seconds: float, quiet_s: float, *, is_apart: bool) -> int:
    """Run once and print the figures; 0 when every candle is equal to the truth."""
    from tests.bench.end_to_end import _cpu_s
    from tests.support.simulation import simulated
    from tests.support.stack import stack

    if (into_ms := int(time.time() * 1000) % BUCKET_MS) > LATEST_START_MS:
        time.sleep((BUCKET_MS - into_ms) / 1000 + 1)
    start_ms = int(time.time() * 1000) // BUCKET_MS * BUCKET_MS
    with (
        tempfile.TemporaryDirectory() as folder,
        simulated(*VENUES, seed=7, start_ms=start_ms, is_paused=True, pace=3) as sim,
        stack(Path(folder)) as running,
    ):
        running.environment["EXCHANGE_ENDPOINTS"] = json.dumps(sim.endpoints)
        processes = deployed(running, is_apart)
        pids = {name: process.pid for name, process in processes.items()} | {"simulator, and this": os.getpid()}
        pids["redis"] = int(running.state.info("server")["process_id"])
        for slug in VENUES:
            running.wait(f"{slug} streams", lambda s=slug: running.state.hget(f"stream:{s}", "state") == b"streaming")
        names = running.python(
            "import json\nfrom symbols import services\n"
            f"print(json.dumps([[s, n, c] for s in {VENUES} for n, c in services.streamed_names(s).items()]))"
        )
        listener = Listener(running.state, start_ms)
        listener.start()
        trade(sim, listener, quiet_s, 0)
        listener.phase = "loaded"
        before = {name: _cpu_s(pid) for name, pid in pids.items()}
        began_s = time.monotonic()
        made, behind_s = trade(sim, listener, seconds, per_s)
        took_s = time.monotonic() - began_s
        cpu = {name: _cpu_s(pid) - before[name] for name, pid in pids.items()}
        waiting = {slug: running.state.hget(f"stream:{slug}", "spooled") for slug in VENUES}
        ended_s = time.monotonic()
        while (wrong := different(running, sim, names, start_ms)) and time.monotonic() < ended_s + 120:
            time.sleep(0.5)
        print(f"{made:,} ticks in {took_s:.1f} s: {made / took_s:,.0f}/s asked {per_s:,}; "
              f"the simulator was {behind_s:.2f} s late at worst")  # fmt: skip
        print(f"{len(names) - len(wrong)} of {len(names)} candles equal to the truth, "
              f"{time.monotonic() - ended_s:.1f} s after the last tick; batches waiting then: {waiting}")  # fmt: skip
        print("\n".join(wrong))
        logs = [name.replace(" ", "-") for name in processes if name.startswith("host")]
        print("gaps of load that was shed:", sum(running.log(name).count("stream.shed") for name in logs))
        for name, spent in cpu.items():
            print(f"  {name:<30}{spent / took_s:>7.0%} of a core")
        listener.is_over.set()
        listener.join()
        _print_ages(listener.ages)
        return len(wrong)


def _print_ages(ages: dict[tuple[str, str], list[float]]) -> None:
    print(f"\n{'age, ms':<42}{'n':>8}{'p50':>8}{'p99':>8}{'max':>8}")
    for (what, exchange), found in sorted(ages.items()):
        ordered = sorted(found)
        marks = [ordered[len(ordered) * share // 100] for share in (50, 99)] + [ordered[-1]]
        print(f"{exchange + ' ' + what:<42}{len(ordered):>8}" + "".join(f"{mark * 1000:>8.0f}" for mark in marks))


def main() -> int:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--per-second", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--quiet", type=float, default=30)
    parser.add_argument("--apart", action="store_true", help="a host and a worker of ticks for each venue")
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "livermore.settings")
    django.setup()
    return measure(options.per_second, options.seconds, options.quiet, is_apart=options.apart)


if __name__ == "__main__":
    sys.exit(main())
