"""Stalls against the venues' simulators: silence is noticed, the venue is asked, and only then something is torn down.

Times are a fifth of what they are by default: patience 3 s instead of 15.
"""

from __future__ import annotations

import time

import pytest

from exchanges.vigil import PROBES, SAMPLE
from livermore.core.gap import Cause
from tests.support.simulation import Running, simulated
from tests.support.streaming import Streamed, streamed
from tests.support.waiting import until

COM, CB, KC, MX = "binance", "coinbase", "kucoin", "mexc"
PATIENCE_S = 3.0
DETECTED_S, HEALED_S = 30 / 15 * PATIENCE_S, 40 / 15 * PATIENCE_S


def freeze(sim: Running, slug: str) -> None:
    """Trades no longer leave on the connections of now; heartbeats, pings and other channels do, and REST knows all."""
    sim.fault(slug, "drop", count=1_000_000)


def busiest(sim: Running, slug: str, count: int) -> list[str]:
    listings = [x for x in sim.simulation.market.listings if x.venue == slug]
    return [x.native for x in sorted(listings, key=lambda x: -x.trades_per_s)[:count]]


def until_all_receive(run: Streamed, within_s: float = 20.0) -> None:
    until(lambda: run.stream.snapshot().receiving == len(run.natives), within_s=within_s)


def assert_losses_are_confessed(run: Streamed) -> None:
    run.until_caught_up()
    assert [lost for lost in run.missing() if not run.is_covered(lost[0], lost[2])] == []


# ---- stalls ----------------------------------------------------------------------------------------


def test_trades_that_stop_while_the_connection_lives_are_noticed_and_healed():
    with simulated(COM, pace=5) as sim, streamed(sim, COM, busiest(sim, COM, 4), patience_s=PATIENCE_S) as run:
        run.until_state("streaming")
        until_all_receive(run)
        [old] = run.subscribed()
        freeze(sim, COM)
        frozen_ns = time.time_ns()
        run.until_state("degraded", within_s=DETECTED_S)
        assert "silent while the venue trades" in run.stream.snapshot().reason
        assert run.stream.snapshot().receiving < 4
        count = run.newest()
        until(lambda: all(max(run.ids()[n]) > count[n] for n in run.natives), within_s=HEALED_S)
        run.until_state("streaming")
        until(lambda: old not in run.subscribed())
        gaps = run.gaps_of(Cause.DISCONNECT)
        assert min(g.from_ns for g in gaps) <= frozen_ns
        assert {s for g in gaps for s in g.symbols} == {run.all_names[n] for n in run.natives}
        assert_losses_are_confessed(run)
        assert run.missing(), "there was something to confess"
        assert run.stream.snapshot().errors == 0


def test_heartbeats_do_not_hide_a_dead_trade_channel():
    """Coinbase beats every second, and its numbering goes on."""
    with simulated(CB, pace=5) as sim, streamed(sim, CB, busiest(sim, CB, 3), patience_s=PATIENCE_S) as run:
        run.until_state("streaming")
        until_all_receive(run)
        [old] = run.subscribed()
        freeze(sim, CB)
        until(lambda: old not in run.subscribed() and len(run.subscribed()) == 1, within_s=HEALED_S + 4)
        until_all_receive(run)
        assert_losses_are_confessed(run)


@pytest.mark.parametrize("slug", [COM, CB, KC, MX])
def test_subscriptions_that_the_venue_acknowledged_and_dropped_are_healed(slug):
    """S7: within 60 s."""
    with simulated(slug, pace=5) as sim:
        names = busiest(sim, slug, 5)
        sim.fault(slug, "lose", count=1)
        with streamed(sim, slug, names, patience_s=PATIENCE_S) as run:
            run.until_state("streaming", "degraded")
            until(lambda: run.stream.snapshot().receiving == 4, within_s=PATIENCE_S)
            assert run.stream.snapshot().acked == 5, "acknowledged, and yet nothing comes"
            until_all_receive(run, within_s=60 / 15 * PATIENCE_S)
            assert len(run.numbers()) == 1, "subscribing again was enough"
            assert run.stream.snapshot().errors == 0
            [lost] = {s for g in run.gaps_of(Cause.DISCONNECT) for s in g.symbols}
            assert lost in run.all_names.values()


def test_several_dropped_subscriptions_of_one_connection_are_healed_together():
    with simulated(COM, pace=5) as sim:
        names = busiest(sim, COM, 6)
        sim.fault(COM, "lose", count=3)
        with streamed(sim, COM, names, patience_s=PATIENCE_S) as run:
            until_all_receive(run, within_s=60 / 15 * PATIENCE_S)
            assert len(run.numbers()) == 1


# ---- quiet -----------------------------------------------------------------------------------------


def test_a_quiet_market_is_asked_about_less_and_less_and_nobody_reconnects():
    """Ten minutes, scaled: 40 times the patience."""
    patience_s = 0.3
    with simulated(COM, is_paused=True) as sim, streamed(sim, COM, patience_s=patience_s) as run:
        run.until_state("streaming")
        time.sleep(40 * patience_s)
        seen = run.stream.snapshot()
        assert (seen.state, seen.errors, seen.receiving) == ("streaming", 0, 13), "proven quiet"
        assert len(run.subscribed()) == 1
        assert [g.cause for g in run.gaps] == [Cause.START]
        assert 13 <= run.stream._vigil.probes <= 13 * 6
        assert run.stream._vigil.probes <= PROBES * (1 + 40 / 4)


def test_a_rest_that_does_not_answer_tears_nothing_down():
    with simulated(COM, pace=5) as sim, streamed(sim, COM, busiest(sim, COM, 3), patience_s=0.5) as run:
        run.until_state("streaming")
        until_all_receive(run)
        sim.fault(COM, "rest_status", status=503, for_s=60)
        freeze(sim, COM)
        until(lambda: run.stream._vigil.probes >= 3)
        assert run.state == "streaming"
        assert len(run.numbers()) == 1
        assert run.gaps_of(Cause.DISCONNECT) == []


# ---- listening -------------------------------------------------------------------------------------


def test_a_burst_is_sampled_and_everybody_is_heard_again_when_it_is_over():
    with simulated(COM, pace=5) as sim, streamed(sim, COM, busiest(sim, COM, 6), patience_s=PATIENCE_S) as run:
        run.until_state("streaming")
        for _ in range(3):
            run.burst(2_000)
        until(lambda: any(len(b.frames) > SAMPLE for b in run.batches))
        until_all_receive(run)
        run.until_caught_up()
        assert [g.cause for g in run.gaps] == [Cause.START]
