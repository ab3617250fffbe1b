"""`make bench`: CPU µs per frame, socket → closed candle in Redis, beside the target; written as JSON too."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from dataclasses import asdict
from pathlib import Path

import django

TARGET_US = 10.0
STRETCH_US = 6.7


def main() -> int:
    """Run, print the table, write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("var/bench.json"))
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "livermore.settings")
    django.setup()
    # Both need Django's settings, so they cannot be imported before.
    from tests.bench import closing, end_to_end, migration, stages
    from tests.support.trades import make

    runs = []
    for number in range(options.runs):
        done = end_to_end.run(options.frames)
        runs.append(done)
        told = f"{done.cpu_us:.2f} µs a frame, {done.exact}/{done.candles} candles exact"
        print(f"run {number + 1} of {options.runs}: {told}", flush=True)
    alone = stages.measure(make(options.frames // 4, [f"S{n:02d}USDT" for n in range(20)], 1_770_000_000_000, 1))
    median = sorted(runs, key=lambda r: r.cpu_us)[len(runs) // 2]
    rows = [(name, seconds / median.frames * 1e6) for name, seconds in median.cpu_s.items()]
    print(f"\nsocket → exact closed candle in Redis, {median.frames:,} Binance frames, {end_to_end.SYMBOLS} symbols,")
    print(f"Python {platform.python_version()}, median of {len(runs)} runs\n")
    print(f"{'process':<52}{'CPU µs/frame':>14}")
    for name, us in rows:
        print(f"{name:<52}{us:>14.2f}")
    total = statistics.median(r.cpu_us for r in runs)
    print(f"{'all':<52}{total:>14.2f}   target T1 ≤ {TARGET_US} (stretch {STRETCH_US})")
    print(f"{'frames per CPU-second':<52}{1e6 / total:>14,.0f}")
    print(f"{'frames per second of wall time while ingesting':<52}{median.frames / median.ingest_s:>14,.0f}\n")
    print(f"{'stage alone, in one process':<52}{'CPU µs/frame':>14}")
    for name, us in alone.items():
        print(f"{name:<52}{us:>14.2f}")
    border = closing.run()
    print(
        f"\n{closing.SYMBOLS:,} symbols closed at one border, {closing.WORKERS} workers: published after "
        f"{border.published_s:.2f} s   target ≤ 2.0"
    )
    print(
        f"one bucket of {closing.BIG:,} trades, read, folded and audited: {border.big_cpu_s:.2f} s of CPU   "
        "target ≤ 1.0"
    )
    print(f"slabs: {border.bytes_per_trade:.1f} bytes a trade   design 18–26")
    moved = migration.run()
    print(
        f"\n{moved.keys:,} keys of the predecessor's taken over, {moved.written_per_s:.0f} candles a second closing, "
        f"killed once:\ncopied in {moved.copy_s:.0f} s, verified in {moved.verify_s:.0f} s ({moved.whole:,} whole, "
        f"{moved.missing} missing, {moved.older} older), {moved.lost} lost, {moved.unequal} unequal;\n"
        f"rolled back in {moved.rollback_s:.2f} s   target ≤ 5;   purged {moved.purged:,} in {moved.purge_s:.0f} s, "
        f"{moved.touched} others touched"
    )
    exact = all(r.exact == r.candles for r in runs)
    print(f"\ncandles equal to the truth: {'all' if exact else 'NOT ALL'}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(
        json.dumps(
            {
                "frames": median.frames,
                "cpu_us": total,
                "processes": dict(rows),
                "stages": alone,
                "border": asdict(border),
                "migration": asdict(moved),
            },
            indent=2,
        )
    )
    return 0 if exact else 1


if __name__ == "__main__":
    sys.exit(main())
