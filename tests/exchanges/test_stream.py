"""The socket engine against the venues' simulators: nothing is lost unnoticed, whatever happens to the sockets."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import pytest

from exchanges.simulation.stage import Options
from livermore.core.candle import BUCKET_NS
from livermore.core.gap import Cause
from tests.support.simulation import simulated
from tests.support.streaming import Streamed, streamed
from tests.support.waiting import until

COM, US, CB, KC = "binance", "binance_us", "coinbase", "kucoin"
SECOND = 1_000_000_000


def never(happened: Callable[[], object], *, for_s: float) -> None:
    deadline = time.monotonic() + for_s
    while time.monotonic() < deadline:
        assert not happened()
        time.sleep(0.02)


def assert_nothing_lost(run: Streamed) -> None:
    run.until_caught_up()
    assert run.missing() == []
    for numbers in run.numbers().values():
        assert numbers == list(range(len(numbers))), "batch numbers of a connection have no holes"


def assert_losses_are_confessed(run: Streamed) -> None:
    run.until_caught_up()
    assert [lost for lost in run.missing() if not run.is_covered(lost[0], lost[2])] == []


# ---- starting --------------------------------------------------------------------------------------


@pytest.mark.parametrize("slug", [COM, US, CB])
def test_all_trades_arrive_with_unbroken_ids(slug):
    with simulated(slug, is_paused=True) as sim, streamed(sim, slug) as run:
        run.until_state("streaming")
        for _ in range(3):
            run.burst(2_000)
        assert_nothing_lost(run)
        assert sum(map(len, run.ids().values())) >= 6_000
        seen = run.stream.snapshot()
        assert (seen.sockets, seen.wanted, seen.acked) == (1, *[len(run.natives)] * 2)
        assert seen.batches == len(run.batches)
        assert seen.frames == sum(len(b.frames) for b in run.batches)


def test_the_start_is_one_gap_from_its_buckets_open():
    with simulated(COM) as sim, streamed(sim, COM) as run:
        run.until_state("streaming")
        since_ns = run.stream.snapshot().since_ns
        [gap] = until(lambda: run.gaps)
        assert (gap.exchange, gap.cause) == (COM, Cause.START)
        assert gap.symbols == tuple(sorted(run.all_names.values()))
        assert gap.from_ns == since_ns - since_ns % BUCKET_NS
        assert since_ns < gap.to_ns <= since_ns + 10 * SECOND
        run.until_caught_up()
        assert len(run.gaps) == 1


def test_nothing_is_published_before_the_start_and_stop_before_it_does_nothing():
    with simulated(COM, is_paused=True) as sim:
        run = Streamed(sim, COM)
        assert run.state == "stopped"
        assert run.stream.stop(1.0)
        assert run.batches == []


# ---- connections end -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["cut", "abort"])
@pytest.mark.parametrize("slug", [COM, CB])
def test_a_lost_connection_is_replaced_and_the_outage_confessed(slug, kind):
    with simulated(slug, pace=3) as sim, streamed(sim, slug) as run:
        run.until_state("streaming")
        run.until_caught_up()
        before = run.stream.snapshot()
        cut_ns = time.time_ns()
        run.sim.fault(slug, kind)
        run.until_state("backing_off")
        assert run.stream.snapshot().since_ns is None
        run.until_state("streaming")
        after = run.stream.snapshot()
        [gap] = run.gaps_of(Cause.DISCONNECT)
        assert gap.from_ns <= cut_ns
        assert cut_ns < after.since_ns <= gap.to_ns
        assert gap.to_ns - gap.from_ns < after.since_ns - cut_ns + 15 * SECOND
        assert gap.symbols == tuple(sorted(run.all_names.values()))
        assert after.since_ns > before.since_ns
        assert after.errors == before.errors + 1
        assert_losses_are_confessed(run)


def test_one_lost_connection_of_several_is_a_degraded_stream():
    with simulated(COM, pace=3) as sim, streamed(sim, COM, topics_per_connection=8) as run:
        run.until_state("streaming")
        assert run.stream.snapshot().sockets == 2

        def cut_one():
            next(iter(sim.simulation.servers[COM].stage.connections)).abort()

        sim.call(cut_one)
        run.until_state("degraded")
        assert "connection lost" in run.stream.snapshot().reason
        run.until_state("streaming")
        [gap] = run.gaps_of(Cause.DISCONNECT)
        assert 0 < len(gap.symbols) < 13, "only what rode on that connection"
        assert_losses_are_confessed(run)


def test_retries_never_end():
    with simulated(COM) as sim:
        port = int(sim.endpoints[COM]["ws"].rpartition(":")[2])
        run = Streamed(sim, COM)
        run.stream.start()
        run.until_state("streaming")
    try:
        until(lambda: run.stream.snapshot().errors >= 3, within_s=15)
        assert run.state == "backing_off"
        assert "cannot connect" in run.stream.snapshot().reason
        down_ns = time.time_ns()
        with simulated(COM, ports={COM: port}) as again:
            run.sim = again
            run.until_state("streaming", within_s=30)
            [gap] = run.gaps_of(Cause.DISCONNECT)
            assert gap.from_ns < down_ns < gap.to_ns
            count = len(run.batches)
            until(lambda: len(run.batches) > count)
    finally:
        assert run.stream.stop(5.0)


def test_reconnects_are_jittered(caplog):
    caplog.set_level(logging.INFO)
    with (
        simulated(COM, is_paused=True) as sim,
        streamed(sim, COM, topics_per_connection=2) as run,
    ):
        run.until_state("streaming")
        assert run.stream.snapshot().sockets == 13
        sim.fault(COM, "abort")
        until(lambda: run.stream.snapshot().errors == 13)
        run.until_state("streaming")
    waits = [r.fields["retry_s"] for r in caplog.records if r.getMessage() == "stream.disconnected"]
    assert len(waits) == 13
    assert len(set(waits)) > 3
    assert all(0.1 <= wait <= 1.0 for wait in waits)


def test_silence_ends_a_connection():
    with simulated(COM, pace=3) as sim, streamed(sim, COM, silence_s=1.0) as run:
        run.until_state("streaming")
        until(lambda: len(run.ids()) > 5)
        sim.fault(COM, "silence", for_s=60.0)
        run.until_state("backing_off")
        assert "no frame for 1 s" in run.stream.snapshot().reason
        run.until_state("streaming")
        assert_losses_are_confessed(run)
        assert run.missing(), "there was something to confess"


def test_a_quiet_market_is_no_silence():
    with simulated(COM, is_paused=True) as sim, streamed(sim, COM, silence_s=0.6) as run:
        run.until_state("streaming")
        never(lambda: run.stream.snapshot().errors, for_s=2.0)
        assert len(run.subscribed()) == 1


# ---- refusals --------------------------------------------------------------------------------------


def test_451_at_the_handshake_is_final():
    with simulated(COM) as sim:
        sim.fault(COM, "handshake", status=451)  # once: a second try would succeed
        with streamed(sim, COM) as run:
            run.until_state("refused")
            assert "451" in run.stream.snapshot().reason
            never(lambda: run.state != "refused" or run.batches, for_s=1.5)


def test_429_at_the_handshake_waits_as_told(caplog):
    caplog.set_level(logging.INFO)
    with simulated(COM) as sim:
        sim.fault(COM, "handshake", status=429)
        with streamed(sim, COM) as run:
            run.until_state("backing_off")
            assert "429" in run.stream.snapshot().reason
            [refusal] = [r for r in caplog.records if r.getMessage() == "stream.disconnected"]
            told_s = refusal.fields["error"].until_ms / 1000 - refusal.created
            assert told_s > 0.5  # the venue says how many whole seconds of its minute are left, at least one
            assert refusal.fields["retry_s"] >= round(told_s, 1)


def test_what_the_venue_refuses_is_confessed_and_the_rest_streams():
    with (
        simulated(CB) as sim,
        streamed(sim, CB, ["BTC-USD", "NOSUCH-USD"]) as run,
        streamed(sim, CB, ["NOSUCH-USD"]) as nothing,
    ):
        run.until_state("streaming", within_s=20)  # the session waits 10 s for the acknowledgement
        seen = run.stream.snapshot()
        assert (seen.wanted, seen.acked) == (2, 1)
        [gap] = run.gaps_of(Cause.REFUSED)
        assert gap.symbols == ("NOSUCH-USD-NONE",)
        assert gap.to_ns - gap.from_ns == BUCKET_NS
        assert_nothing_lost(run)
        until(lambda: "1 of 1 symbols refused" in nothing.stream.snapshot().reason)
        assert nothing.state == "subscribing"
        assert nothing.gaps_of(Cause.REFUSED)


def test_one_bad_symbol_of_many_does_not_stop_the_others():
    """S8. KuCoin refuses the whole group; it is halved until the symbol at fault is alone."""
    with simulated(KC, pace=5) as sim:
        names = [x.native for x in sim.simulation.market.listings]
        with streamed(sim, KC, [*names[:6], "NOSUCH-USDT", *names[6:]]) as run:
            run.until_state("streaming", within_s=10)
            seen = run.stream.snapshot()
            assert (seen.wanted, seen.acked, seen.errors) == (len(names) + 1, len(names), 0)
            [gap] = until(lambda: run.gaps_of(Cause.REFUSED))
            assert gap.symbols == ("NOSUCH-USDT-NONE",)
            until(lambda: len(run.ids()) >= len(names) - 1)  # one of them trades once in minutes


# ---- rotation --------------------------------------------------------------------------------------


def watch_sockets(runs: list[Streamed], for_s: float) -> list[float]:
    """For how long each had two sockets open at once; never none, never three."""
    began: dict[int, float] = {}
    overlap_s = [0.0] * len(runs)
    deadline = time.monotonic() + for_s
    while (now := time.monotonic()) < deadline:
        for index, run in enumerate(runs):
            sockets = run.stream.snapshot().sockets
            assert sockets in (1, 2)
            if sockets == 2:
                overlap_s[index] = max(overlap_s[index], now - began.setdefault(index, now))
            else:
                began.pop(index, None)
        time.sleep(0.01)
    return overlap_s


def test_connections_are_replaced_before_the_venue_ends_them():
    """M6: nothing missing, no id lost, the two sockets overlap by a second, nothing to confess."""
    with (
        simulated(COM, CB, pace=3, options=Options(lifetime_s=7.5)) as sim,
        streamed(sim, COM, connection_lifetime_s=6.0) as first,
        streamed(sim, CB, connection_lifetime_s=6.0) as second,
    ):
        runs = [first, second]
        for run in runs:
            run.until_state("streaming")
        since = [run.stream.snapshot().since_ns for run in runs]
        overlaps_s = watch_sockets(runs, 8.5)  # past the moment at which the venue would have cut
        assert min(overlaps_s) >= 1.0
        for run, since_ns in zip(runs, since, strict=True):
            assert len(run.numbers()) == 2
            assert_nothing_lost(run)
            seen = run.stream.snapshot()
            assert (seen.state, seen.since_ns, seen.errors) == ("streaming", since_ns, 0)
            assert [g.cause for g in run.gaps] == [Cause.START]


def test_a_notice_of_the_end_brings_a_successor_within_a_second():
    with simulated(COM, pace=3) as sim, streamed(sim, COM) as run:
        run.until_state("streaming")
        sim.fault(COM, "shutdown")
        until(lambda: len(run.subscribed()) == 2, within_s=1.0)
        until(lambda: len(run.subscribed()) == 1)
        assert_nothing_lost(run)
        assert [g.cause for g in run.gaps] == [Cause.START]


def test_a_venue_that_cuts_soon_after_its_notice_costs_nothing():
    """S5: notice, then the old connection is cut as soon as its successor streams."""
    with simulated(COM, pace=3) as sim, streamed(sim, COM) as run:
        run.until_state("streaming")
        [old] = run.subscribed()
        sim.fault(COM, "shutdown")
        until(lambda: len(run.subscribed()) == 2 and all(run.subscribed().values()), within_s=1.0)

        def cut_the_old():
            next(c for c in sim.simulation.servers[COM].stage.connections if id(c) == old).close(1012)

        until(lambda: len(run.numbers()) == 2)
        sim.call(cut_the_old)
        until(lambda: old not in run.subscribed())
        assert_nothing_lost(run)
        assert run.state == "streaming"
        assert [g.cause for g in run.gaps] == [Cause.START]


def test_roll_replaces_every_connection_without_a_loss():
    with simulated(COM, pace=3) as sim, streamed(sim, COM, topics_per_connection=8) as run:
        run.until_state("streaming")
        run.until_caught_up()
        old = set(run.subscribed())
        run.stream.roll()
        until(lambda: len(new := set(run.subscribed())) == 2 and not new & old)
        assert_nothing_lost(run)
        assert [g.cause for g in run.gaps] == [Cause.START] * 2
        assert run.stream.snapshot().errors == 0


def test_a_successor_that_cannot_connect_is_tried_with_growing_pauses():
    with simulated(COM, pace=3) as sim, streamed(sim, COM) as run:
        run.until_state("streaming")
        [old] = run.subscribed()
        sim.fault(COM, "handshake", status=503, for_s=2.0)
        run.stream.roll()
        until(lambda: len(run.subscribed()) == 2)
        until(lambda: len(run.subscribed()) == 1)
        assert old not in run.subscribed()
        assert 1 <= run.stream.snapshot().errors < 10
        assert_nothing_lost(run)
        assert [g.cause for g in run.gaps] == [Cause.START]


def test_the_connection_may_die_while_its_successor_is_on_the_way():
    with simulated(COM, pace=3) as sim, streamed(sim, COM) as run:
        run.until_state("streaming")
        sim.fault(COM, "handshake", status=503, for_s=1.0)
        run.stream.roll()
        until(lambda: run.stream.snapshot().errors)
        sim.fault(COM, "abort")
        run.until_state("backing_off", "connecting", "subscribing")
        run.until_state("streaming")
        assert run.gaps_of(Cause.DISCONNECT)
        assert_losses_are_confessed(run)
        assert len(run.subscribed()) == 1


# ---- symbols come and go ---------------------------------------------------------------------------


def test_following_touches_only_the_sockets_whose_symbols_change():
    with simulated(COM, pace=3) as sim:
        names = [x.native for x in sim.simulation.market.listings]
        with streamed(sim, COM, names[:7], topics_per_connection=5) as run:
            run.until_state("streaming")
            before = run.subscribed()
            assert sorted(map(len, before.values())) == [3, 4]
            run.follow(names[:8])
            until(lambda: sum(map(len, run.subscribed().values())) == 8)
            after = run.subscribed()
            assert after.keys() == before.keys(), "nobody reconnected"
            assert sum(before[c] != after[c] for c in before) == 1
            run.follow(names[1:8])
            until(lambda: sum(map(len, run.subscribed().values())) == 7)
            assert run.subscribed().keys() == before.keys()
            assert_nothing_lost(run)
            seen = run.stream.snapshot()
            assert (seen.state, seen.wanted, seen.acked, seen.errors) == ("streaming", 7, 7, 0)


def test_an_added_symbol_has_a_start_of_its_own():
    with simulated(COM, pace=3) as sim, streamed(sim, COM, ["BTCUSDT"]) as run:
        run.until_state("streaming")
        began_ns = sim.call(sim.simulation.now_us) * 1000
        run.follow(["BTCUSDT", "ETHUSDT"])
        until(lambda: len(run.gaps) == 2)
        gap = run.gaps[1]
        assert (gap.cause, gap.symbols) == (Cause.START, ("ETH-USDT",))
        assert gap.from_ns % BUCKET_NS == 0
        first_ns = until(lambda: _first_trade_ns(run, "ETHUSDT"))
        assert gap.from_ns <= began_ns <= first_ns < gap.to_ns, "the gap lasts until trades flow"


def _first_trade_ns(run: Streamed, native: str) -> int:
    ids = run.ids().get(native)
    return run.traded_ns(native, min(ids)) if ids else 0


def test_a_socket_without_symbols_is_closed_and_its_place_used_again():
    with simulated(COM, pace=3) as sim, streamed(sim, COM, ["ADAUSDT", "BTCUSDT"], topics_per_connection=1) as run:
        run.until_state("streaming")
        run.follow(["BTCUSDT"])
        until(lambda: len(run.subscribed()) == 1)
        until(lambda: run.stream.snapshot().sockets == 1)
        assert run.state == "streaming"
        assert run.stream.snapshot().since_ns is not None
        run.follow(["BTCUSDT", "ETHUSDT"])
        until(lambda: run.stream.snapshot().sockets == 2)
        run.until_state("streaming")
        until(lambda: "ETHUSDT" in run.ids())
        assert {g.cause for g in run.gaps} == {Cause.START}, "nobody missed what nobody followed"
        assert_nothing_lost(run)


def test_following_during_a_rotation_reaches_both_connections():
    with simulated(COM, pace=3) as sim, streamed(sim, COM, ["BTCUSDT"]) as run:
        run.until_state("streaming")
        run.stream.roll()
        until(lambda: len(run.subscribed()) == 2)
        run.follow(["BTCUSDT", "ETHUSDT"])
        until(lambda: [len(topics) for topics in run.subscribed().values()] == [2, 2], within_s=1.0)
        until(lambda: len(run.subscribed()) == 1)
        until(lambda: "ETHUSDT" in run.ids())
        assert_nothing_lost(run)


def test_many_changes_in_a_row_stay_within_the_venues_pace():
    """The simulator cuts whoever sends more than five messages a second."""
    with simulated(COM, pace=3, options=Options(scale=0.05)) as sim, streamed(sim, COM, ["BTCUSDT"]) as run:
        run.until_state("streaming")
        names = list(run.all_names)
        for step in range(300):
            run.follow(["BTCUSDT", *names[1 + step % 7 : 4 + step % 9]])
            time.sleep(0.005)
        final = run.natives
        until(lambda: [len(t) for t in run.subscribed().values()] == [len(set(final))])
        assert run.stream.snapshot().errors == 0


# ---- pausing and stopping --------------------------------------------------------------------------


def test_pause_closes_and_resume_confesses_what_was_missed():
    with simulated(COM, pace=3) as sim, streamed(sim, COM) as run:
        run.until_state("streaming")
        until(lambda: len(run.ids()) > 5)
        run.stream.pause()
        until(lambda: not run.subscribed())
        until(lambda: run.stream.snapshot().sockets == 0)
        assert run.state == "paused"
        assert run.stream.snapshot().since_ns is None
        run.burst(400)  # every symbol misses some
        run.stream.resume()
        run.until_state("streaming")
        assert run.stream.snapshot().errors == 0, "an asked pause is no failure to back off from"
        run.burst(400)  # and trades again, so that what was missed lies between two trades heard
        assert_losses_are_confessed(run)
        assert run.missing()


@pytest.mark.parametrize("slug", [COM, CB])
def test_stop_publishes_what_was_received_and_leaves_no_thread(slug):
    with simulated(slug, pace=6) as sim:
        with streamed(sim, slug, topics_per_connection=5) as run:
            run.until_state("streaming")
            run.until_caught_up()
            assert run.stream.stop(5.0)
            assert run.state == "stopped"
            count = len(run.batches)
            seen = run.stream.snapshot()
            assert (seen.sockets, seen.spooled) == (0, 0)
            assert seen.frames == sum(len(b.frames) for b in run.batches)
            until(lambda: not run.subscribed())
        assert len(run.batches) == count
        assert run.missing() == []


def test_stop_during_connecting_does_not_wait():
    with simulated(COM) as sim:
        for _ in range(5):
            run = Streamed(sim, COM)
            run.stream.start()
            assert run.stream.stop(5.0)
        until(lambda: not run.subscribed())


def test_stop_during_a_rotation_publishes_both_connections():
    with simulated(COM, pace=6) as sim, streamed(sim, COM) as run:
        run.until_state("streaming")
        run.stream.roll()
        until(lambda: len(run.numbers()) == 2)
        assert run.stream.stop(5.0)
        assert run.stream.snapshot().frames == sum(len(b.frames) for b in run.batches)
        assert run.missing() == []


# ---- what the venue sends --------------------------------------------------------------------------


def test_a_frame_lost_by_the_venue_is_confessed():
    with simulated(CB, pace=3) as sim, streamed(sim, CB) as run:
        run.until_state("streaming")
        run.until_caught_up()
        sim.fault(CB, "drop")
        [gap] = until(lambda: run.gaps_of(Cause.SEQUENCE))
        assert gap.symbols == tuple(sorted(run.all_names.values()))
        assert gap.to_ns - gap.from_ns < 12 * SECOND
        assert_losses_are_confessed(run)
        assert run.missing(), "and only that frame is lost"
        assert len({native for native, *_ in run.missing()}) == 1
        assert run.stream.snapshot().errors == 0


@pytest.mark.parametrize("slug", [COM, CB])
def test_nonsense_does_not_break_the_connection(slug):
    with simulated(slug, pace=3) as sim, streamed(sim, slug) as run:
        run.until_state("streaming")
        for kind in ("malformed", "binary", "unknown_symbol", "huge_number"):
            sim.fault(slug, kind)
        assert_nothing_lost(run)
        assert run.stream.snapshot().errors == 0
        assert len(run.numbers()) == 1


def test_the_venues_pings_are_answered():
    """The simulator aborts a connection that leaves a ping unanswered; a fiftieth of its time here."""
    with simulated(COM, pace=3, options=Options(scale=0.02, lifetime_s=60)) as sim, streamed(sim, COM) as run:
        run.until_state("streaming")
        never(lambda: run.stream.snapshot().errors, for_s=2.5)  # six pings; an unanswered one kills after 1.2 s
