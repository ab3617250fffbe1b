"""`make chaos`: every fault against one deployment, each candle afterwards against the truth; table and JSON."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

RUNS = 20
SHOWN = 5


@dataclass
class Row:
    """What became of one fault."""

    fault: str
    runs: int = 0
    equal: int = 0
    candles: int = 0
    adopted: int = 0
    worst_repair_s: float = 0.0
    took_s: float = 0.0
    note: str = ""
    wrong: list[str] = field(default_factory=list)


def main() -> int:
    """Run, print the table, write the file; 1 when something is not equal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="one run of each, with shorter outages")
    parser.add_argument("--runs", type=int, help=f"runs of each fault (default: {RUNS}, short: 1)")
    parser.add_argument("--only", default="", metavar="TEXT", help="faults whose name contains one of these, by commas")
    parser.add_argument("--out", type=Path, default=Path("var/chaos.json"))
    parser.add_argument("--keep", action="store_true", help="keep the deployment's folder with its logs")
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "livermore.settings")
    from tests.chaos.faults import FAULTS

    texts = [text for text in options.only.split(",") if text]
    named = [f for f in FAULTS if not texts or any(text in f.name for text in texts)]
    chosen = [f for f in named if not (options.short and f.full_only)]
    began_s = time.monotonic()
    rows = _run(chosen, options.runs or (1 if options.short else RUNS), is_short=options.short, keep=options.keep)
    left_out = [Row(f.name, note=f"full only: {f.full_only}") for f in named if f not in chosen]
    _print(rows + left_out)
    print(f"{time.monotonic() - began_s:.0f} s in all")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps([asdict(row) for row in rows + left_out], indent=2))
    return 0 if all(row.equal == row.runs or row.note for row in rows) else 1


def _run(chosen: Sequence, runs: int, *, is_short: bool, keep: bool) -> list[Row]:
    from tests.chaos.trial import Trial
    from tests.chaos.world import world

    rows = [Row(fault.name, note=fault.known and f"known: {fault.known}") for fault in chosen]
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    with world(folder, keep=keep) as made:
        trial = Trial(made)
        for number in range(runs):
            for fault, row in zip(chosen, rows, strict=True):
                began_s = time.monotonic()
                done = trial.run(fault, is_short=is_short)
                row.runs, row.equal = row.runs + 1, row.equal + (not done.wrong)
                row.candles, row.adopted = row.candles + done.candles, row.adopted + done.adopted
                row.worst_repair_s = max(row.worst_repair_s, round(done.repair_s, 1))
                row.took_s = round(row.took_s + time.monotonic() - began_s, 1)
                row.wrong += done.wrong[:SHOWN]
                how = "equal" if not done.wrong else f"{len(done.wrong)} WRONG: " + "; ".join(done.wrong[:SHOWN])
                told = f"{done.candles} candles, repaired in {done.repair_s:.0f} s, {time.monotonic() - began_s:.0f} s"
                print(f"{number + 1}/{runs} {fault.name}: {how} ({told})", flush=True)
        print(trial.last(), flush=True)
    return rows


def _print(rows: Sequence[Row]) -> None:
    print("| fault | runs | equal | candles | adopted | worst repair s | |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        numbers = (row.runs, row.equal, row.candles, row.adopted, round(row.worst_repair_s))
        print(f"| {row.fault} | {' | '.join(map(str, numbers))} | {row.note} |")


if __name__ == "__main__":
    sys.exit(main())
