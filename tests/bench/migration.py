"""The predecessor's keys are taken over while 500 candles a second close, with a kill -9 half way: what it takes."""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from livermore.core import legacy_keys
from tests.support.stack import Stack, stack

AT, NUMBER = "coinbase", 1
USERS, TIMEFRAMES = (7, 8), ("5m", "15m", "1h", "4h", "1d")
PER_S = 500

SEED = """
from candles.legacy_models import LegacyMigration
from symbols.models import ExchangeSymbol
from tests.candles.predecessor import key, leave
names = [f"S{{n:04d}}-USD" for n in range({symbols})]
ExchangeSymbol.objects.bulk_create(
    ExchangeSymbol(exchange_id={at!r}, native=n, base=n[:-4], quote="USD", name=n, tier=1) for n in names)
assert LegacyMigration.objects.get(pk={at!r}).number == {number}
from exchanges.state import state_redis
theirs = [key(user, {at!r}, name, t) for name in names for user in {users} for t in {timeframes}]
for at in range(0, len(theirs), 500):
    leave(state_redis(), theirs[at:at + 500], {bars}, ends=300)
print(len(theirs))
"""
# Closes candles until it is told to stop, each once, at the pace of a very busy border.
WRITE = """
import json, time
from decimal import Decimal
from pathlib import Path
from candles.services.record import Closed, record
from livermore.core.candle import Candle, Timeframe
told, stop, began, n = Path({told!r}), Path({stop!r}), time.monotonic(), 0
newest_ms, price = {newest_ms}, Decimal("64000.123456789")
while not stop.exists():
    some = []
    for n in range(n, n + 50):
        open_ms = newest_ms + n // {symbols} * 300_000
        some.append(Closed(Candle({at!r}, f"S{{n % {symbols}:04d}}-USD", Timeframe.M5, open_ms, *[price + n] * 4,
                                  Decimal(1)), 1))
    n += 1
    record(some)
    time.sleep(max(0.0, began + n / {per_s} - time.monotonic()))
told.write_text(json.dumps([n, time.monotonic() - began]))
"""
COMPARE = """
import json
from candles import legacy, window
from candles.legacy import value
from livermore.core.candle import Timeframe
from exchanges.state import state_redis
lost = unequal = 0
expected = {{}}
for n in range({written}):
    expected.setdefault(f"S{{n % {symbols}:04d}}-USD", []).append({newest_ms} + n // {symbols} * 300_000)
for name, opens in expected.items():
    ours = {{c.open_ms: c.close for c in window.newest({at!r}, name, Timeframe.M5, 1_000)}}
    for user in {users}:
        members = state_redis().zrange(f"candles:{{user}}:{number}:{{name}}:5m", 0, -1)
        theirs = {{c.open_ms: c.close for c in (value({at!r}, name, Timeframe.M5, one) for one in members)}}
        lost += sum(ms not in ours or ms not in theirs for ms in opens)
        unequal += sum(ours.get(ms) != theirs.get(ms) for ms in opens)
print(json.dumps([lost, unequal]))
"""


@dataclass(frozen=True)
class TakenOver:
    """What was there, what came of it, and how long each step took."""

    keys: int
    copied_before_kill: int
    written: int
    written_per_s: float
    whole: int
    missing: int
    older: int
    lost: int
    unequal: int
    purged: int
    left: int
    touched: int
    copy_s: float
    verify_s: float
    rollback_s: float
    purge_s: float


def take_over(folder: Path, *, symbols: int, bars: int, rate: int, purge_rate: int = 1_000) -> TakenOver:
    """From a fresh deployment to the purge."""
    with stack(folder) as running:
        known: dict[str, Any] = {
            "at": AT,
            "number": NUMBER,
            "users": USERS,
            "timeframes": TIMEFRAMES,
            "symbols": symbols,
        }
        count = running.python(SEED.format(bars=bars, **known))
        newest_ms = running.python("from tests.candles.streaming import past; print(past(299))")
        copied = _killed(running, rate, count)
        told, stop = folder / "told", folder / "stop"
        source = WRITE.format(newest_ms=newest_ms, told=str(told), stop=str(stop), per_s=PER_S, **known)
        running.start("writer", "manage.py", "shell", "--no-imports", "-c", source)
        running.wait("the writer writes", lambda: running.state.zcount(f"candles:{AT}:S0000-USD:5m", newest_ms, "+inf"))
        copy_s, _ = _timed(running, "copy", "--rate", str(rate))
        verify_s, verified = _timed(running, "verify")
        stop.touch()
        written, spent_s = json.loads(running.wait("the writer ends", lambda: told.exists() and told.read_text()))
        lost, unequal = running.python(COMPARE.format(newest_ms=newest_ms, written=written, **known))
        _timed(running, "verify")
        _timed(running, "cutover")
        _, rolled = _timed(running, "rollback")
        _timed(running, "cutover")
        others = _others(running)
        purge_s, purged = _timed(running, "purge", "--rate", str(purge_rate))
        left = sum(1 for _ in running.state.scan_iter(legacy_keys.pattern(NUMBER), count=1_000))
        return TakenOver(
            count, copied, written, written / spent_s, verified["clean"], verified["missing"], verified["older"],
            lost, unequal, purged["purged"], left, len(others ^ _others(running)), copy_s, verify_s,
            rolled["seconds"], purge_s,
        )  # fmt: skip


def run(symbols: int = 1_000) -> TakenOver:
    """10,000 keys."""
    with tempfile.TemporaryDirectory() as folder:
        return take_over(Path(folder), symbols=symbols, bars=50, rate=2_000)


def _killed(running: Stack, rate: int, count: int) -> int:
    """Begin to copy, and die."""
    running.start("copy", "manage.py", "migrate_keys", "copy", AT, "--rate", str(rate))
    ours = f"candles:{AT}:*"
    running.wait("a part is copied", lambda: sum(1 for _ in running.state.scan_iter(ours)) >= count // 10)
    running.kill("copy")
    copied = [
        value
        for name in running.state.scan_iter(legacy_keys.series(AT, "*"))
        for value in running.state.hvals(name)
        if value
    ]
    return len(copied)


def _timed(running: Stack, action: str, *more: str) -> tuple[float, dict[str, Any]]:
    began = time.monotonic()
    done = running.manage("migrate_keys", action, AT, "--json", *more, timeout_s=600)
    return time.monotonic() - began, json.loads(done.stdout.strip().splitlines()[-1])


def _others(running: Stack) -> set[bytes]:
    """Every key that is not the predecessor's, nor the list of these."""
    found = running.state.scan_iter("*", count=1_000)
    return {name for name in found if not legacy_keys.parse(name.decode()) and not name.startswith(b"legacy:")}
