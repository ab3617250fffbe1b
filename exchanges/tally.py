"""What processes count, for /metrics: in memory where it happens, in one Redis hash every few seconds.

Counting costs a dictionary's entry, so it may stand wherever a batch passes, though not a frame. Labels are closed
sets (exchange, cause, quality, task); never a symbol. A process that is killed loses its last `EVERY_S` seconds of
counts, and an emptied Redis begins at zero, which `rate()` reckons with.
"""

from __future__ import annotations

import logging
import threading
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass

from exchanges.state import state_redis, unavailable
from livermore.core import keys
from livermore.core.errors import StoreUnavailable
from livermore.logs import event

log = logging.getLogger(__name__)

EVERY_S = 5.0
SUM, BELOW = "sum", "le"

Field = tuple[str, ...]
"""The name of a count and its labels' values; of a histogram also which part: `("…", "kucoin", "le", "0.1")`."""


@dataclass(frozen=True, slots=True)
class Counter:
    """A count that only rises. `name` is without the prefix `livermore_` and without `_total`."""

    name: str
    means: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Histogram:
    """How often something took at most so long: `bounds` in the unit that `name` ends with."""

    name: str
    means: str
    labels: tuple[str, ...]
    bounds: tuple[float, ...]


_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

BATCHES = Counter("ingest_batches", "Batches of frames that workers stored.", ("exchange",))
FRAMES = Counter("ingest_frames", "Frames in the batches that workers stored.", ("exchange",))
TRADES = Counter("ingest_trades", "Trades that workers stored.", ("exchange",))
REJECTED = Counter("ingest_rejected", "Frames and trades that workers set aside.", ("exchange",))
INGEST_DELAY = Histogram(
    "ingest_delay_seconds", "From the receipt of a batch's newest frame until its trades are stored.",
    ("exchange",), _SECONDS,
)  # fmt: skip
CANDLES = Counter("candles", "Versions of candles that were recorded.", ("exchange", "timeframe", "quality"))
CLOSE_DELAY = Histogram(
    "candle_close_delay_seconds", "From the end of a 5m bucket until its first version is recorded.",
    ("exchange",), (2.0, 2.5, 3.0, 4.0, 5.0, 7.5, 10.0, 15.0, 30.0, 60.0, 300.0),
)  # fmt: skip
FOLD = Histogram("fold_duration_seconds", "Folding and recording of one set of due buckets.", ("exchange",), _SECONDS)
GAPS = Counter("gaps", "Gaps that were reported.", ("exchange", "cause"))
TASKS = Histogram("task_duration_seconds", "Run time of a task, whatever came of it.", ("task",), _SECONDS)
FAILURES = Counter("task_failures", "Tasks that ended with an error.", ("task",))
RETRIES = Counter("task_retries", "Tasks that will be tried again.", ("task",))
REQUESTS = Counter("http_requests", "Requests that the web processes answered.", ("view", "status"))

KINDS: tuple[Counter | Histogram, ...] = (
    *(BATCHES, FRAMES, TRADES, REJECTED, INGEST_DELAY),
    *(CANDLES, CLOSE_DELAY, FOLD, GAPS),
    *(TASKS, FAILURES, RETRIES, REQUESTS),
)

_counted: dict[Field, float] = {}
_lock = threading.Lock()
_ending = threading.Event()
_flusher: threading.Thread | None = None


def add(kind: Counter, *labels: str, by: float = 1) -> None:
    """Count; nothing is sent."""
    with _lock:
        _counted[kind.name, *labels] = _counted.get((kind.name, *labels), 0) + by


def observe(kind: Histogram, *labels: str, value: float) -> None:
    """Count one value into its bucket; nothing is sent."""
    at = bisect_left(kind.bounds, value)
    below = str(kind.bounds[at]) if at < len(kind.bounds) else "+Inf"
    with _lock:
        for part, by in (((BELOW, below), 1.0), ((SUM,), value)):
            field = (kind.name, *labels, *part)
            _counted[field] = _counted.get(field, 0) + by


@unavailable()
def _send(counted: Mapping[Field, float]) -> None:
    pipe = state_redis().pipeline(transaction=False)
    for field, by in counted.items():
        pipe.hincrbyfloat(keys.tally(), "|".join(field), by)
    pipe.execute()


def flush() -> None:
    """Add what was counted to the common hash; kept for the next time where that does not answer."""
    global _counted
    with _lock:
        counted, _counted = _counted, {}
    if not counted:
        return
    try:
        _send(counted)
    except StoreUnavailable:
        with _lock:
            for field, by in counted.items():
                _counted[field] = _counted.get(field, 0) + by


def keep_flushing() -> None:
    """From now on this process sends what it counts; calling it again does nothing."""
    global _flusher
    with _lock:
        if _flusher is not None and _flusher.is_alive():
            return
        _ending.clear()
        _flusher = threading.Thread(target=_run, name="tally", daemon=True)
        _flusher.start()


def stop_flushing() -> None:
    """Send what is left, and no more by itself."""
    _ending.set()
    if _flusher is not None:
        _flusher.join()
    flush()


def _run() -> None:
    while not _ending.wait(EVERY_S):
        try:
            flush()
        except Exception as error:
            # The top of a loop that must live; what was counted meanwhile is lost.
            event(log, "tally.failed", logging.ERROR, error=error)


@unavailable()
def told() -> dict[Field, float]:
    """What all processes have counted. Raises `StoreUnavailable`."""
    said = state_redis().hgetall(keys.tally())
    return {tuple(name.decode().split("|")): float(count) for name, count in said.items()}
