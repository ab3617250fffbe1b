"""A batch that kills whoever works on it is set aside and becomes a gap; the rest goes on."""

from __future__ import annotations

import pytest

from livermore.core import keys
from tests.support.stack import Stack, stack

PUBLISH = """
from candles.tasks import publish_batch
from livermore.core.frame import FrameBatch
from symbols.models import ExchangeSymbol
from tests.support.poison import PILL
from tests.support.trades import Made
ExchangeSymbol(exchange_id="binance", native="BTCUSDT", base="BTC", quote="USDT", tier=1).save()
good = [Made("BTCUSDT", n, 1_770_000_000_000 + n, "64000", "1", True).frame() for n in range(4)]
for number, frames in enumerate([(PILL, good[0]), (good[1],), (good[2],)]):
    publish_batch(FrameBatch("binance", "c", number, 1, frames, ((len(frames), 1_770_000_000_000_000_000),)))
"""
LOOK = """
import json
from candles.models import Gap, QuarantinedBatch
rows = list(QuarantinedBatch.objects.values_list("number", "failures", "taken_at"))
print(json.dumps([rows, list(Gap.objects.values_list("cause", flat=True))], default=lambda at: "taken"))
"""
QUEUES = ["ticks.binance.0", "candles"]


def stored(running: Stack) -> list[int]:
    """Which of the three batches are in slabs."""
    return [number for number in range(3) if running.state.getbit(keys.batches("binance", "c"), number)]


@pytest.mark.slow
def test_a_batch_that_kills_its_workers_is_set_aside_and_the_rest_goes_on(tmp_path) -> None:
    with stack(tmp_path) as running:
        running.manage("shell", "--no-imports", "-c", PUBLISH)
        # A child of a prefork pool dies as a solo worker does, and the next one is there at once.
        worker = running.worker("ticks", QUEUES, "-P", "prefork", "-c", "1", "-I", "tests.support.poison")
        running.wait("the rest", lambda: stored(running) == [1, 2], 60)
        running.wait("an end", lambda: "batch.quarantined" in running.log("ticks"), 60)
        running.wait("a gap", lambda: running.python(LOOK) == [[[0, 3, None]], ["batch"]], 60)
        assert running.log("ticks").count("WorkerLostError") >= 3
        assert worker.poll() is None
