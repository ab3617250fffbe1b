"""Every closed candle equals the simulators' truth, field for field; on whatever broker is given."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from typing import Any

import pytest

from livermore.core import keys
from tests.integration.deployment import VENUES, deploy, start_all, streamed, told
from tests.support.simulation import simulated
from tests.support.stack import Stack, stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

BUCKET_MS = 300_000
ADVANCE_S = 15
BUCKETS = 3
TURNOVER_STEP = {"binance": Decimal("1e-8"), "binance_us": Decimal("1e-4"), "coinbase": Decimal("1e-8")}


@pytest.fixture(scope="module")
def virtual(tmp_path_factory: pytest.TempPathFactory):
    """A deployment whose simulators stand still until told to advance; half an hour ago on our clock."""
    start_ms = (int(time.time() * 1000) // BUCKET_MS - 6) * BUCKET_MS + 100_000
    with (
        simulated(*VENUES, seed=11, start_ms=start_ms, is_paused=True) as simulation,
        stack(tmp_path_factory.mktemp("virtual")) as running,
    ):
        deploy(running, simulation)
        yield running, simulation, start_ms


def test_nothing_connects_until_told(virtual):
    running, simulation, _ = virtual
    states = {row["exchange"]: row["state"] for row in told(running, "exchange_status")}
    assert {states[slug] for slug in VENUES} == {"idle"}
    assert len(states) == 5
    for server in simulation.simulation.servers.values():
        assert not server.stage.connections
    assert not list(running.state.scan_iter("candles:*"))


def test_every_candle_is_equal_to_the_simulators_truth(virtual):
    running, simulation, start_ms = virtual
    start_all(running)
    names = streamed(running)
    for _ in range((BUCKETS + 1) * BUCKET_MS // 1000 // ADVANCE_S):
        simulation.call(simulation.simulation.advance, ADVANCE_S)
        simulation.drained()
    first = start_ms - start_ms % BUCKET_MS + BUCKET_MS
    wanted = {}
    for slug, native in names:
        for open_ms in range(first, first + BUCKETS * BUCKET_MS, BUCKET_MS):
            kline = simulation.call(simulation.simulation.truth, slug, native, open_ms)
            # Silent buckets are marked when they end on our clock, which here is half an hour ahead.
            if kline.volume:
                wanted[slug, native, open_ms] = kline

    def different() -> list[Any]:
        return [place for place, kline in wanted.items() if not is_equal(running, names, place, kline)]

    try:
        running.wait("every candle equal to the truth", lambda: not different(), 60)
    except AssertionError as error:
        raise AssertionError(f"{len(different())} of {len(wanted)} candles differ: {different()[:5]}") from error
    print(f"{len(wanted)} candles equal in every field")
    assert len(wanted) > len(names) * BUCKETS * 0.9


def is_equal(running: Stack, names: dict[tuple[str, str], str], place: tuple[str, str, int], kline: Any) -> bool:
    """Every field of the candle against what the simulator generated."""
    slug, native, open_ms = place
    key = keys.candles(slug, names[slug, native], "5m")
    found = [json.loads(member) for member in running.state.zrangebyscore(key, open_ms, open_ms)]
    if len(found) != 1:
        return False
    candle = found[0]
    names_equal = ("open", "high", "low", "close", "volume", "trades", "taker_buy_volume")
    if any(candle[name] is None or Decimal(str(candle[name])) != getattr(kline, name) for name in names_equal):
        return False
    # The simulated engines cut the quote amount of every execution, as Binance does; an aggregate tells only
    # the sum of several.
    return bool(0 <= Decimal(candle["turnover"]) - kline.turnover < TURNOVER_STEP[slug] * kline.trades)


def test_keys_keep_the_contract(virtual):
    running, _, _ = virtual
    series = [key.decode() for key in running.state.scan_iter("candles:*")]
    assert series
    for key in series:
        parsed = keys.parse_candles(key)
        assert parsed is not None
        assert parsed.timeframe in ("5m", "15m", "30m", "1h", "4h", "1d")
        scores = [int(score) for _, score in running.state.zrange(key, 0, -1, withscores=True)]
        length_ms = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}[parsed.timeframe[-1]] * int(parsed.timeframe[:-1])
        assert len(set(scores)) == len(scores) <= 1_000
        assert not any(score % length_ms for score in scores)
