"""The main job, from outside: commands, simulators, sockets, Celery, Redis, database; on whatever broker is given."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from livermore.core import keys
from tests.integration.deployment import VENUES, deploy, start_all, streamed, told
from tests.support.simulation import simulated
from tests.support.stack import Stack, stack

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


def signals(running: Stack, kind: str, phase: str) -> list[dict[str, Any]]:
    """What was published."""
    found = [json.loads(fields[b"event"]) for _, fields in running.state.xrange(keys.signals_stream())]
    return [e for e in found if e["kind"] == kind and e["phase"] == phase]


def test_a_move_of_the_leader_becomes_a_signal_that_converges(live):
    running, simulation = live
    since = int(running.state.hget(keys.stream("coinbase"), "since_ms"))
    now_ms = lambda: int(running.state.time()[0]) * 1000  # noqa: E731
    running.wait("one minute of warm streaming", lambda: now_ms() - since > 61_000, 70)
    simulation.call(simulation.simulation.move, "BTC", 60.0, over_s=2.0, lags_s={"coinbase": 0.0, "*": 8.0})

    def events(phase: str) -> list[dict[str, Any]]:
        return [e for e in signals(running, "LEADER_MOVE", phase) if e["base"] == "BTC" and e["direction"] == "up"]

    opened = running.wait("an opened signal", lambda: events("opened"), 15)
    assert {e["leader"]["exchange"] for e in opened} == {"coinbase"}
    assert {e["follower"]["exchange"] for e in opened} <= {"binance", "binance_us"}
    assert all(Decimal(e["metrics"]["remaining_bps"]) >= 10 for e in opened)
    # Binance.US is thin: a signal there may end because its leg went stale.
    outcome = lambda: {e["outcome"] for e in events("closed") if e["follower"]["exchange"] == "binance"}  # noqa: E731
    running.wait("its outcome", outcome, 60)
    assert outcome() == {"converged"}
    assert {e["event_id"] for e in events("closed")} <= {e["event_id"] for e in events("opened")}


def test_a_move_that_all_have_made_is_a_confluence(live):
    """C1: the same move, once the others had followed."""
    running, _ = live
    told = running.wait("a confluence", lambda: signals(running, "CONFLUENCE", "opened"), 30)
    assert [(e["base"], e["direction"], e["metrics"]["venues"][0]) for e in told] == [("BTC", "up", "coinbase")]


def test_a_venue_that_stands_still_while_the_others_move_is_told(live):
    """V1: and when it trades again, that is told, too."""
    running, simulation = live
    simulation.call(simulation.simulation.halt, "binance", "ETH")
    simulation.call(simulation.simulation.move, "ETH", 90.0, over_s=8.0, lags_s={"coinbase": 0.0, "binance_us": 0.0})
    stale = lambda phase: [e for e in signals(running, "VENUE_STALE", phase) if e["base"] == "ETH"]  # noqa: E731
    (opened,) = running.wait("a stale venue", lambda: stale("opened"), 40)
    assert (opened["follower"]["exchange"], opened["direction"]) == ("binance", "up")
    simulation.call(simulation.simulation.halt, "binance", "ETH", is_halted=False)
    running.wait("its return", lambda: stale("closed"), 40)


def test_every_signal_can_be_explained_down_to_the_batches(live):
    """B8: the moments of each hop, and which batch brought each price; here they are all still kept."""
    running, _ = live
    kinds = ("LEADER_MOVE", "CONFLUENCE", "VENUE_STALE")
    opened = [event for kind in kinds for event in signals(running, kind, "opened")[:1]]
    assert len(opened) == 3
    for event in opened:
        said = json.loads(running.manage("explain_signal", event["event_id"], "--json").stdout)
        whats = [(hop["of"], hop["what"].split(":")[0]) for hop in said["hops"]]
        steps = ("traded (venue's clock)", "received by the socket", "stored by ingest")
        assert {(of, what) for of in ("leader", "follower") for what in steps} <= set(whats)
        assert all(cause["batch"] and cause["is_kept"] for cause in said["causes"])
        assert "written down and published" in {what for _, what in whats}


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
