"""What each stage costs alone, in one process, on the same frames: CPU µs per frame."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any

from candles import slab
from candles.fold import fold
from candles.services.continuity import Continuity
from exchanges import registry, wire
from exchanges.batching import MAX_FRAMES, Batcher
from exchanges.framing import FrameReader
from exchanges.venue import KEEP, Limits
from livermore.core.symbol import SymbolBook
from tests.bench.venue_server import framed
from tests.support.trades import Made

READ_BYTES = 65536
REPEATS = 5


def measure(made: list[Made]) -> dict[str, float]:
    """Medians of five repeats."""
    frames = [trade.frame() for trade in made]
    stream = b"".join(map(framed, frames))
    venue = registry.venue("binance")
    natives = sorted({trade.native for trade in made})
    book = SymbolBook("binance", {native: f"{native[:-4]}-USDT" for native in natives}, 1)
    session = venue.session(Limits(1024, 5, None), natives)
    session.opened(0)  # type: ignore[arg-type]
    groups = [frames[at : at + MAX_FRAMES] for at in range(0, len(frames), MAX_FRAMES)]
    batches = [_batch(group, number) for number, group in enumerate(groups)]
    bodies = [wire.pack(batch) for batch in batches]
    mapped = [venue.mapper(batch.frames, book).trades for batch in batches]
    slabs = [slab.group(trades, 1) for trades in mapped]
    stored = [{key: slab.encode(columns) for key, columns in found.items()} for found in slabs]
    buckets: dict[Any, dict[str, bytes]] = {}
    for number, found in enumerate(stored):
        for key, data in found.items():
            buckets.setdefault(key, {})[f"c:{number}"] = data

    def receive() -> None:
        reader, batcher = FrameReader(), Batcher("binance", "c", 1)
        for at in range(0, len(stream), READ_BYTES):
            kept = [payload for _, payload in reader.feed(stream[at : at + READ_BYTES])
                    if session.received(payload, 1) is KEEP]  # type: ignore[arg-type]  # fmt: skip
            batcher.add(kept, 1)
            if batcher.is_due(1):
                batcher.take()

    def watch() -> None:
        watched = Continuity("binance")
        for batch, found in zip(batches, slabs, strict=True):
            watched.look(batch, found, 0.0)

    stages: dict[str, Callable[[], object]] = {
        "receive: frames out of bytes, session, batch": receive,
        "pack: join, zstd": lambda: [wire.pack(batch) for batch in batches],
        "unpack": lambda: [wire.unpack(body) for body in bodies],
        "decode: frames to trades": lambda: [len(venue.mapper(batch.frames, book).trades) for batch in batches],
        "group into slabs": lambda: [slab.group(trades, 1) for trades in mapped],
        "watch: ids without holes": watch,
        "check: exact numbers": lambda: [
            (slab.numbers(columns.prices), slab.numbers(columns.quantities))
            for found in slabs
            for columns in found.values()
        ],
        "encode slabs": lambda: [slab.encode(columns) for found in slabs for columns in found.values()],
        "fold": lambda: [fold({f: slab.decode(d) for f, d in found.items()}) for found in buckets.values()],
    }
    # What was prepared above must not make the collector's rounds longer than they are in a worker.
    gc.collect()
    gc.freeze()
    return {name: _median_us(stage, len(frames)) for name, stage in stages.items()}


def _batch(frames: list[bytes], number: int) -> Any:
    batcher = Batcher("binance", "c", 1)
    batcher.number = number
    batcher.add(frames, 1)
    return batcher.take()


def _median_us(stage: Callable[[], object], frames: int) -> float:
    spent = []
    for _ in range(REPEATS):
        started = time.process_time()
        stage()
        spent.append(time.process_time() - started)
    return sorted(spent)[REPEATS // 2] / frames * 1e6
