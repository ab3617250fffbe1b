"""The main job, from outside: commands, simulators, sockets, Celery, Redis, database; on whatever broker is given."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from livermore.core import keys
from tests.support.simulation import Running, simulated
from tests.support.stack import Stack, stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

VENUES = ("binance", "binance_us", "coinbase")
BUCKET_MS = 300_000
ADVANCE_S = 15
BUCKETS = 3
TURNOVER_STEP = {"binance": Decimal("1e-8"), "binance_us": Decimal("1e-4"), "coinbase": Decimal("1e-8")}


def deploy(running: Stack, simulation: Running) -> None:
    """Workers, beat and an idle host beside running simulators."""
    running.environment["EXCHANGE_ENDPOINTS"] = json.dumps(simulation.endpoints)
    running.worker("ticks", [f"ticks.{slug}.0" for slug in VENUES])
    running.worker("candles", ["candles"])
    running.worker("rest", ["signals", "default", *(f"backfill.{slug}" for slug in VENUES)])
    running.beat()
    running.start("host", "manage.py", "stream_host", "--name", "e2e")
    running.wait("the host is up", lambda: running.state.zscore(keys.hosts(), "e2e"))


def told(running: Stack, *arguments: str) -> Any:
    """What a command says in JSON."""
    return json.loads(running.manage(*arguments, "--json").stdout.strip().splitlines()[-1])


def start_all(running: Stack) -> None:
    for slug in VENUES:
        said = told(running, "start_exchange", slug, "--wait", "40")
        assert said["exchange"] == slug
        assert said["state"] == "streaming"
        assert said["symbols"] > 5


def streamed(running: Stack) -> dict[tuple[str, str], str]:
    """(exchange, native) → canonical name of everything that is streamed."""
    rows = running.python(
        "import json\nfrom symbols import services\n"
        f"print(json.dumps([[s, n, c] for s in {VENUES} for n, c in services.streamed_names(s).items()]))"
    )
    return {(slug, native): name for slug, native, name in rows}


@pytest.fixture(scope="module")
def virtual(tmp_path_factory: pytest.TempPathFactory):
    """A deployment whose simulators stand still until told to advance; half an hour ago on our clock."""
    import time

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


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory):
    """A deployment in real time."""
    with (
        simulated(*VENUES, seed=5, has_episodes=False) as simulation,
        stack(tmp_path_factory.mktemp("live")) as running,
    ):
        deploy(running, simulation)
        start_all(running)
        yield running, simulation


def test_history_and_indicators_are_there_at_once(live):
    running, _ = live
    names = streamed(running)

    def indicators() -> list[dict[str, Any]]:
        found = [running.state.get(keys.indicator(slug, name, "5m", "macdv")) for (slug, _), name in names.items()]
        return [json.loads(value) for value in found if value]

    running.wait("MACD-V of every symbol", lambda: len(indicators()) == len(names))
    assert sum(value["ready"] for value in indicators()) >= len(names) - 2  # a thin symbol may not be
    for (slug, _), name in names.items():
        assert running.state.zcard(keys.candles(slug, name, "5m")) >= 300


def test_a_move_of_the_leader_becomes_a_signal_that_converges(live):
    running, simulation = live
    since = int(running.state.hget(keys.stream("coinbase"), "since_ms"))
    now_ms = lambda: int(running.state.time()[0]) * 1000  # noqa: E731
    running.wait("one minute of warm streaming", lambda: now_ms() - since > 61_000, 70)
    simulation.call(simulation.simulation.move, "BTC", 60.0, over_s=2.0, lags_s={"coinbase": 0.0, "*": 8.0})

    def events(phase: str) -> list[dict[str, Any]]:
        entries = running.state.xrange(keys.signals_stream())
        found = [json.loads(fields[b"event"]) for _, fields in entries]
        return [e for e in found if e["base"] == "BTC" and e["direction"] == "up" and e["phase"] == phase]

    opened = running.wait("an opened signal", lambda: events("opened"), 15)
    assert {e["leader"]["exchange"] for e in opened} == {"coinbase"}
    assert {e["follower"]["exchange"] for e in opened} <= {"binance", "binance_us"}
    assert all(Decimal(e["metrics"]["remaining_bps"]) >= 10 for e in opened)
    closed = running.wait("its outcome", lambda: events("closed"), 60)
    assert {e["outcome"] for e in closed} == {"converged"}
    assert {e["event_id"] for e in closed} <= {e["event_id"] for e in opened}


def test_exchanges_stop_and_the_host_ends_in_good_order(live):
    running, _ = live
    for slug in VENUES:
        running.manage("stop_exchange", slug)
    states = {row["exchange"]: row["state"] for row in told(running, "exchange_status")}
    assert {states[slug] for slug in VENUES} == {"idle"}
    host = running._processes["host"]
    host.terminate()
    assert host.wait(timeout=15) == 0
    assert not any(running.state.exists(keys.rejected(slug)) for slug in VENUES)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("start_exchange", "nonsense"), 6, "binance"),
        (("start_exchange",), 2, "NAME"),
        (("start_exchange", "binance", "--wait", "soon"), 2, "--wait"),
        (("stop_exchange", "nonsense"), 6, "nonsense"),
        (("simulate", "nonsense"), 2, "binance"),
        (("up", "--nonsense"), 2, "--nonsense"),
    ],
)
def test_wrong_arguments_are_answered_in_one_clear_line(live, arguments, code, words):
    running, _ = live
    done = running.manage(*arguments, check=False)
    assert done.returncode == code
    assert len(done.stderr.strip().splitlines()) == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
