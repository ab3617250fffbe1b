"""The main job, from outside: commands, simulators, sockets, Celery, Redis, database; on whatever broker is given."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from livermore.core import keys
from tests.integration.deployment import VENUES, deploy, start_all, streamed, told
from tests.support.simulation import simulated
from tests.support.stack import stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


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

    def short() -> list[str]:
        return [n for (slug, _), n in names.items() if running.state.zcard(keys.candles(slug, n, "5m")) < 299]

    def is_complete() -> bool:
        values = indicators()
        # All are ready but a thin symbol or two, whose bars are mostly synthetic.
        return not short() and len(values) == len(names) and sum(v["ready"] for v in values) >= len(names) - 2

    running.wait("history and MACD-V of every symbol", is_complete)


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
    # Binance.US is thin: a signal there may end because its leg went stale.
    outcome = lambda: {e["outcome"] for e in events("closed") if e["follower"]["exchange"] == "binance"}  # noqa: E731
    running.wait("its outcome", outcome, 60)
    assert outcome() == {"converged"}
    assert {e["event_id"] for e in events("closed")} <= {e["event_id"] for e in events("opened")}


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
