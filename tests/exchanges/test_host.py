"""The stream host on a real Redis, with a scripted stream in place of sockets."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis

from exchanges import control, geo, host, lease, observed, pilot
from exchanges.control import Status, Verb
from exchanges.geo import GeoRule, Location
from exchanges.host import Host, Whereabouts
from exchanges.lifeline import Lifeline
from exchanges.observed import Change
from exchanges.running import Plan, Wiring
from exchanges.state import SOCKET_TIMEOUT_S
from exchanges.venue import Endpoint, Limits
from livermore.core import keys
from livermore.core.errors import GeoBlocked, VenueUnavailable
from tests.support.redis_server import RedisServer
from tests.support.scripted_stream import ScriptedStream
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("redis_state")

LOCAL = Endpoint("http://127.0.0.1:1", "ws://127.0.0.1:1")
REMOTE = Endpoint("https://api.alpha.example", "wss://stream.alpha.example")


def plan(slug: str = "alpha", endpoint: Endpoint = LOCAL, **changes: Any) -> Plan:
    rule = changes.pop("rule", GeoRule(slug, slug.title()))
    return replace(Plan(slug, slug.title(), True, endpoint, False, Limits(10, 5.0, None), rule), **changes)


class World:
    """What a host needs from outside, all of it in a test's hands, and the hosts it started."""

    def __init__(self) -> None:
        self.plans = {"alpha": plan(), "beta": plan("beta")}
        self.universe: dict[str, dict[str, str]] = {s: {"AB": "A-B", "CB": "C-B"} for s in ("alpha", "beta")}
        self.streams: list[ScriptedStream] = []
        self.opening = ("streaming", "")
        self.synced: list[str] = []
        self.started: list[tuple[str, tuple[str, ...]]] = []
        self.changes: list[Change] = []
        self.lookups = 0
        self.location = Location("DE", None, "test")
        self.trouble: Callable[[], None] = lambda: None
        self._threads: list[tuple[Host, threading.Thread]] = []

    def wiring(self) -> Wiring:
        return Wiring(
            plans=lambda: dict(self.plans),
            universe=lambda slug: self.universe[slug],
            sync=self._sync,
            stream=self._stream,
            started=lambda slug, names: self.started.append((slug, names)),
            locate=self._locate,
            watch=self.changes.append,
        )

    def _sync(self, wanted: Plan) -> None:
        self.synced.append(wanted.slug)
        self.trouble()
        self.universe[wanted.slug] = {"AB": "A-B"}

    def _stream(self, wanted: Plan, names: Mapping[str, str], epoch: int) -> ScriptedStream:
        self.trouble()
        self.streams.append(ScriptedStream(names, epoch, *self.opening))
        return self.streams[-1]

    def _locate(self) -> Location:
        self.lookups += 1
        return self.location

    def launch(self, name: str = "h1", **options: Any) -> Host:
        """A host in a thread, ready."""
        started = Host(self.wiring(), name, **options)
        thread = threading.Thread(target=started.run)
        thread.start()
        self._threads.append((started, thread))
        until(lambda: started.state == "ready")
        return started

    def end(self, which: Host | None = None) -> None:
        """Stop one host or all, and wait."""
        for started, thread in self._threads:
            if which in (None, started):
                started.stop()
                thread.join(15)
                assert not thread.is_alive()

    def states(self, exchange: str = "alpha") -> list[str]:
        return [change.state for change in self.changes if change.exchange == exchange]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Intervals of a tenth, so that what happens every ten seconds happens in a test."""
    monkeypatch.setattr(host, "BEAT_EVERY_S", 0.1)
    monkeypatch.setattr(host, "REPLAN_EVERY_S", 0.3)
    monkeypatch.setattr(lease, "RENEW_EVERY_S", 0.2)
    monkeypatch.setattr(pilot, "REFRESH_EVERY_S", 0.2)
    built = World()
    yield built
    built.end()


def tell(verb: Verb, exchange: str = "alpha", wait_s: float = 15, **options: Any) -> control.Result:
    command_id = control.send(exchange, verb, issued_by="test", wait_s=wait_s, **options)
    return control.await_result(command_id, wait_s + 5)


def state(exchange: str = "alpha") -> str:
    return observed.stream_state(exchange).get("state", "")


def test_a_host_is_idle_until_told_and_says_how_to_start(world: World) -> None:
    world.launch()
    (seen,) = observed.live_hosts()
    assert seen.state == "ready"
    assert "start one with: python manage.py start_exchange NAME" in seen.reason
    assert sorted(seen.exchanges) == ["alpha", "beta"]
    told = until(lambda: observed.stream_state("alpha"))
    assert told["state"] == "idle"
    assert told["reason"].endswith("python manage.py start_exchange alpha")
    assert world.streams == []
    assert world.lookups == 0


def test_start_streams_and_its_result_tells_what_runs(world: World) -> None:
    world.launch()
    done = tell(Verb.START)
    assert (done.status, done.code, done.host) == (Status.DONE, "ok", "h1")
    assert done.answer["state"] == "streaming"
    assert done.answer["symbols"] == 2
    assert done.answer["lease_epoch"] == 1
    assert world.states() == ["checking_geo", "connecting", "subscribing", "streaming"]
    assert world.started == [("alpha", ("A-B", "C-B"))]
    told = observed.stream_state("alpha")
    assert (told["state"], told["host"], told["epoch"], told["wanted"]) == ("streaming", "h1", "1", "2")
    assert told["region"] == "loopback"
    assert lease.holder("alpha").host == "h1"


def test_how_late_its_trades_come_is_told(world: World, redis_state: redis.Redis) -> None:
    world.launch()
    tell(Verb.START)
    assert observed.stream_state("alpha")["lag_ms"] == ""
    now_ms = time.time_ns() // 1_000_000
    redis_state.hset(keys.ticker("alpha", "A-B"), mapping={"time_ms": now_ms - 40, "received_ms": now_ms})
    until(lambda: observed.stream_state("alpha")["lag_ms"] == "40.0")


def test_every_edge_has_an_actor_a_reason_and_a_time_and_is_announced(world: World, redis_state: redis.Redis) -> None:
    listener = redis_state.pubsub(ignore_subscribe_messages=True)
    listener.subscribe(keys.channel_exchange("alpha"))
    until(lambda: listener.get_message(timeout=1) is None)
    world.launch()
    tell(Verb.START)
    heard = []
    while len(heard) < 4:
        if message := listener.get_message(timeout=5):
            heard.append(json.loads(message["data"]))
    assert [edge["event"] for edge in heard] == ["start", "allowed", "open", "ready"]
    assert heard[0]["actor"] == "test"
    assert "no location check" in heard[1]["reason"]
    assert all(edge["at_ms"] > 0 and edge["actor"] and edge["host"] == "h1" for edge in heard)
    listener.close()


def test_a_start_sent_before_the_host_is_up_runs_once_when_it_is(world: World) -> None:
    command_id = control.send("alpha", Verb.START, issued_by="test", wait_s=30, idempotency_key="k")
    control.send("alpha", Verb.START, issued_by="test", wait_s=30, idempotency_key="k")
    world.launch()
    assert control.await_result(command_id, 20).status is Status.DONE
    assert [change.event for change in world.changes].count("start") == 1
    assert len(world.streams) == 1


def test_an_expired_start_never_runs(world: World) -> None:
    command_id = control.send("alpha", Verb.START, issued_by="test", wait_s=-1)
    world.launch()
    until(lambda: state() == "idle")
    assert control.result(command_id).status is Status.EXPIRED
    assert tell(Verb.STOP).message == "it was idle"
    assert world.changes == []


def test_an_empty_universe_is_synced_first(world: World) -> None:
    world.universe["alpha"] = {}
    world.launch()
    assert tell(Verb.START).answer["symbols"] == 1
    assert world.synced == ["alpha"]


def test_a_blocked_location_is_refused_before_anything_is_built(world: World) -> None:
    other = GeoRule("alpha_us", "Alpha US")
    rule = GeoRule("alpha", "Alpha", countries=frozenset({"US"}), alternative=other)
    world.plans["alpha"] = plan(endpoint=REMOTE, rule=rule)
    world.universe["alpha"] = {}
    world.location = Location("US", "US-CA", "test")
    world.launch()
    refused = tell(Verb.START)
    assert (refused.status, refused.code) == (Status.FAILED, "geo")
    assert "use Alpha US (alpha_us) instead" in refused.message
    assert world.states() == ["checking_geo", "refused"]
    assert (world.streams, world.synced) == ([], [])
    assert lease.holder("alpha") is None
    assert tell(Verb.STOP).status is Status.DONE


def test_editing_the_row_changes_the_answer_without_a_restart(world: World) -> None:
    world.plans["alpha"] = plan(endpoint=REMOTE, rule=GeoRule("alpha", "Alpha", countries=frozenset({"DE"})))
    running = world.launch()
    assert tell(Verb.START).code == "geo"
    world.plans["alpha"] = plan(endpoint=REMOTE)
    until(lambda: not running.runners["alpha"].pilot.plan.rule.countries)
    assert tell(Verb.START).code == "ok"
    world.plans["alpha"] = plan(endpoint=REMOTE, rule=GeoRule("alpha", "Alpha", is_paused=True))
    until(lambda: state() == "refused")
    assert world.streams[0].calls == ["start", "stop"]
    assert lease.holder("alpha") is None


def test_an_unknown_location_is_refused(world: World) -> None:
    world.plans["alpha"] = plan(endpoint=REMOTE)
    world.location = geo.Location(None, None, "nobody knows")
    world.launch()
    assert "this host's location is unknown (nobody knows); set LIVERMORE_REGION" in tell(Verb.START).message


def test_a_venue_that_refuses_the_region_is_not_tried_again(world: World) -> None:
    world.opening = ("refused", "HTTP 451")
    world.launch()
    assert tell(Verb.START).code == "geo"
    assert world.states() == ["checking_geo", "connecting", "refused"]
    assert lease.holder("alpha") is None
    world.universe["beta"] = {}
    world.trouble = lambda: (_ for _ in ()).throw(GeoBlocked("HTTP 403 by region"))
    assert tell(Verb.START, "beta").message == "HTTP 403 by region"


def test_a_venue_that_does_not_answer_is_tried_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pilot, "BACKOFF_CAP_S", 0.1)
    times = iter(range(2))

    def fail_twice() -> None:
        if next(times, None) is not None:
            raise VenueUnavailable("no answer")

    world.trouble = fail_twice
    world.launch()
    assert tell(Verb.START).code == "ok"
    assert world.states().count("backing_off") == 2


def test_what_a_stream_does_by_itself_is_followed(world: World) -> None:
    world.launch()
    tell(Verb.START)
    (stream,) = world.streams
    stream.become("degraded", "1 of 2 sockets is away")
    until(lambda: state() == "degraded")
    assert observed.stream_state("alpha")["reason"] == "1 of 2 sockets is away"
    stream.become("backing_off", "reset")
    until(lambda: state() == "backing_off")
    stream.become("streaming")
    until(lambda: state() == "streaming")
    assert len(world.started) == 1


def test_a_start_that_does_not_come_in_time_fails_with_its_state_and_goes_on(world: World) -> None:
    world.opening = ("connecting", "")
    world.launch()
    late = tell(Verb.START, wait_s=0.8)
    assert (late.status, late.code) == (Status.FAILED, "timeout")
    assert "still connecting" in late.message
    world.streams[0].become("streaming")
    until(lambda: state() == "streaming")


def test_pause_and_resume(world: World) -> None:
    world.launch()
    assert tell(Verb.PAUSE).code == "impossible"
    tell(Verb.START)
    assert tell(Verb.PAUSE).answer["state"] == "paused"
    assert state() == "paused"
    assert tell(Verb.PAUSE).message == "it was paused"
    assert lease.holder("alpha").host == "h1"
    assert tell(Verb.RESUME).answer["state"] == "streaming"
    assert world.streams[0].calls == ["start", "pause", "resume"]


def test_stop_drains_and_releases(world: World) -> None:
    world.launch()
    tell(Verb.START)
    assert tell(Verb.STOP).message == "stopped"
    assert world.states()[-2:] == ["draining", "idle"]
    assert world.streams[0].calls == ["start", "stop"]
    assert lease.holder("alpha") is None
    assert tell(Verb.START).answer["lease_epoch"] == 2


def test_stop_ends_a_start_that_is_under_way(world: World) -> None:
    world.opening = ("connecting", "")
    world.launch()
    command_id = control.send("alpha", Verb.START, issued_by="test", wait_s=30)
    until(lambda: world.states()[-1:] == ["connecting"])
    tell(Verb.STOP)
    assert control.await_result(command_id, 10).code == "stopped"


def test_roll_and_reload(world: World) -> None:
    world.launch()
    assert tell(Verb.ROLL).code == "impossible"
    tell(Verb.START)
    tell(Verb.ROLL)
    world.universe["alpha"] = {"AB": "A-B"}
    tell(Verb.RELOAD)
    assert world.streams[0].calls[:3] == ["start", "roll", "follow"]
    assert world.streams[0].names == {"AB": "A-B"}


def test_other_symbols_are_followed_and_other_limits_replace_the_stream_after_its_successor_streams(
    world: World,
) -> None:
    world.launch()
    tell(Verb.START)
    world.universe["alpha"] = {"AB": "A-B", "DB": "D-B"}
    until(lambda: world.streams[0].names == world.universe["alpha"])
    world.opening = ("connecting", "")
    world.plans["alpha"] = plan(limits=Limits(3, 5.0, None))
    until(lambda: len(world.streams) == 2)
    assert "stop" not in world.streams[0].calls
    world.streams[1].become("streaming")
    until(lambda: "stop" in world.streams[0].calls)
    assert world.streams[1].epoch == 1
    assert world.states().count("connecting") == 1


def test_the_version_of_the_row_that_the_stream_follows_is_told(world: World) -> None:
    tries: list[str] = []

    def told() -> str:
        return observed.stream_state("alpha").get("config_version", "")

    def refuse() -> None:
        tries.append(told())
        raise VenueUnavailable("no answer")

    world.plans["alpha"] = plan(config_version=5)
    world.launch()
    until(lambda: told() == "5")
    tell(Verb.START)
    world.plans["alpha"] = plan(config_version=6)
    until(lambda: told() == "6")
    assert len(world.streams) == 1
    world.trouble = refuse
    world.plans["alpha"] = plan(config_version=7, limits=Limits(3, 5.0, None))
    until(lambda: len(tries) > 1)
    assert set(tries) == {"6"}
    world.trouble = lambda: None
    until(lambda: told() == "7")
    assert len(world.streams) == 2


def test_without_trade_ids_the_old_stream_is_stopped_before_the_new_one_starts(world: World) -> None:
    world.plans["alpha"] = plan(may_overlap=False)
    world.launch()
    tell(Verb.START)
    world.plans["alpha"] = plan(may_overlap=False, limits=Limits(3, 5.0, None))
    until(lambda: len(world.streams) == 2)
    assert world.streams[0].calls[-1] == "stop"


def test_a_disabled_row_stops_its_stream_and_refuses_to_start(world: World) -> None:
    world.launch()
    tell(Verb.START)
    world.plans["alpha"] = plan(is_enabled=False)
    until(lambda: state() == "idle")
    assert tell(Verb.START).code == "disabled"


def test_a_second_host_stays_idle_and_says_who_holds_the_lease(world: World) -> None:
    world.launch("h1")
    tell(Verb.START)
    world.launch("h2")
    held = tell(Verb.START, target="h2")
    assert (held.code, held.message) == ("held", "alpha is held by host h1, epoch 1")
    second = until(lambda: (h := observed.host("h2")) and h.exchanges["alpha"]["reason"].startswith("host") and h)
    served = {"state": "idle", "reason": "host h1 runs it (epoch 1)", "may_run": True, "epoch": None}
    assert second.exchanges["alpha"] == served
    assert state() == "streaming"
    assert observed.choose_host("alpha") == "h1"


def test_a_host_of_the_same_name_is_renamed(world: World) -> None:
    first, second = world.launch("box"), world.launch("box")
    assert first.name == "box"
    assert second.name.startswith("box-")


def test_the_lease_of_a_dead_host_is_waited_for(world: World, redis_state: redis.Redis) -> None:
    lease.acquire("alpha", "dead/1")
    redis_state.pexpire(keys.lease("alpha"), 1_500)
    world.launch()
    assert tell(Verb.START).answer["lease_epoch"] == 2
    assert world.states()[:2] == ["checking_geo", "connecting"]


@pytest.mark.parametrize(
    ("name", "was", "goes_on"), [("h1", "streaming", True), ("h1", "paused", False), ("h2", "streaming", False)]
)
def test_a_host_goes_on_with_what_a_killed_one_of_its_name_ran(
    world: World, settings: Any, tmp_path: Path, name: str, was: str, goes_on: bool
) -> None:
    settings.VAR_DIR = tmp_path
    line = Lifeline("h1/1")
    line.hold()
    os.close(line._descriptor)  # as the kernel leaves it
    lease.acquire("alpha", "h1/1")
    observed.tell_stream("alpha", {"state": was, "host": "h1", "epoch": 1})
    world.launch(name)
    if goes_on:
        until(lambda: state() == "streaming" and lease.holder("alpha").epoch == 2)
        assert world.changes[0].actor == "autostart"
    assert tell(Verb.START).answer["lease_epoch"] == 2
    assert [change.actor for change in world.changes if change.event == "start"] == ["autostart" if goes_on else "test"]
    assert world.states("beta") == []


def test_a_host_that_lost_its_lease_stops_its_stream(world: World, redis_state: redis.Redis) -> None:
    world.launch("h1")
    tell(Verb.START)
    world.launch("h2")
    # In one step: a lease that is gone is taken back by the host that still streams.
    taken = lease.Lease("alpha", observed.host("h2").owner, int(redis_state.incr(keys.epoch("alpha"))))
    redis_state.set(keys.lease("alpha"), str(taken), px=lease.TTL_MS)
    until(lambda: "stop" in world.streams[0].calls)
    until(lambda: world.changes[-1].event == "held")
    assert lease.holder("alpha").host == "h2"


def test_a_start_goes_to_the_host_that_may(world: World) -> None:
    world.plans["alpha"] = plan(endpoint=REMOTE, rule=GeoRule("alpha", "Alpha", countries=frozenset({"US"})))
    world.location = Location("US", None, "test")
    world.launch("a-us")
    world.location = Location("DE", None, "test")
    world.launch("b-de")
    assert observed.choose_host("alpha") == "b-de"
    assert tell(Verb.START).host == "b-de"
    assert tell(Verb.START, target="a-us").code == "geo"


def test_a_crash_of_one_exchange_does_not_stop_the_other(world: World) -> None:
    world.launch()
    tell(Verb.START, "beta")

    def crash() -> None:
        raise RuntimeError("a bug")

    world.trouble = crash
    assert tell(Verb.START, "alpha", wait_s=2).code == "timeout"
    assert state("beta") == "streaming"
    assert tell(Verb.STOP, "alpha").status is Status.DONE


def test_stopping_the_host_drains_everything_and_leaves_no_trace(world: World, redis_state: redis.Redis) -> None:
    running = world.launch(autostart=["alpha", "beta"])
    until(lambda: state("alpha") == state("beta") == "streaming")
    world.end(running)
    assert [stream.calls for stream in world.streams] == [["start", "stop"]] * 2
    assert not redis_state.exists(keys.lease("alpha")) | redis_state.exists(keys.lease("beta"))
    assert observed.live_hosts() == []
    assert state() == "idle"


def test_a_host_that_serves_one_exchange_leaves_the_others_alone(world: World) -> None:
    world.launch(only=["beta"])
    assert observed.choose_host("alpha") == ""
    assert observed.choose_host("beta") == "h1"


def test_commands_queue_while_a_host_begins_and_then_run_once_each(world: World) -> None:
    ready, sent = threading.Event(), []
    location = world.wiring().locate

    def slow_lookup() -> Location:
        ready.wait(10)
        return location()

    world.plans["alpha"] = plan(endpoint=REMOTE)
    world._locate = slow_lookup  # the host is in init for as long as this takes
    starting = Host(world.wiring(), "h1")
    thread = threading.Thread(target=starting.run)
    world._threads.append((starting, thread))
    thread.start()
    until(lambda: (h := observed.host("h1")) and h.state == "init")
    sent.append(control.send("alpha", Verb.START, issued_by="test", wait_s=30))
    time.sleep(0.3)
    assert control.result(sent[0]).status is Status.PENDING
    ready.set()
    assert control.await_result(sent[0], 15).status is Status.DONE
    assert len(world.streams) == 1


def test_starts_fired_while_a_host_begins_run_exactly_once(world: World) -> None:
    for number in range(6):
        sent = threading.Event()
        ids: list[str] = []

        def fire(after_s: float = number * 0.02, to: list[str] = ids, done: threading.Event = sent) -> None:
            time.sleep(after_s)
            to.append(control.send("alpha", Verb.START, issued_by="test", wait_s=30))
            done.set()

        threading.Thread(target=fire).start()
        running = world.launch(f"h{number}")
        sent.wait(10)
        assert control.await_result(ids[0], 15).status is Status.DONE
        assert len(world.streams) == number + 1
        world.end(running)


def test_while_redis_is_away_the_stream_goes_on_and_is_reported_again_afterwards(
    world: World, redis_server: RedisServer
) -> None:
    running = world.launch(autostart=["alpha"])
    until(lambda: state() == "streaming")
    held = lease.holder("alpha")
    redis_server.process.send_signal(signal.SIGSTOP)
    try:
        time.sleep(SOCKET_TIMEOUT_S + 1.0)
    finally:
        redis_server.process.send_signal(signal.SIGCONT)
    resumed_ms = time.time_ns() // 1_000_000
    until(lambda: int(observed.stream_state("alpha").get("updated_ms", 0)) > resumed_ms)
    assert state() == "streaming"
    assert world.streams[0].calls == ["start"]
    assert lease.holder("alpha") == held
    assert running.runners["alpha"].pilot.lease == held


def test_a_place_once_known_stays_known_when_a_later_lookup_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_KNOWN_FOR_S", 0.0)
    answers = iter([Location("DE", None, "trace"), Location(None, None, "no answer"), Location("FR", None, "trace")])
    where = Whereabouts(lambda: next(answers))
    assert [str(where()), str(where())] == ["DE", "DE"]
    monkeypatch.setattr(host, "_UNKNOWN_FOR_S", 0.0)
    where._ask_again_at = 0.0
    assert str(where()) == "FR"


def test_a_host_tells_its_version_and_how_far_the_store_is(world: World) -> None:
    world.launch()
    seen = observed.host("h1")
    assert seen is not None
    assert re.fullmatch(r"\d+\.\d+\.\d+", seen.version)
    assert seen.rtt_ms is not None
    assert 0 < seen.rtt_ms < SOCKET_TIMEOUT_S * 1000
    assert seen.clock_offset_ms is not None
    assert abs(seen.clock_offset_ms) <= (seen.clock_uncertainty_ms or 0) + 1, "the store runs on this machine"
    assert tell(Verb.START).status is Status.DONE
    until(lambda: (observed.host("h1") or seen).exchanges["alpha"]["epoch"] == 1)


def test_every_edge_is_kept_for_the_activity_of_its_exchange(world: World, redis_state: redis.Redis) -> None:
    world.launch()
    tell(Verb.START)
    until(lambda: world.states()[-1:] == ["streaming"])
    kept = [json.loads(fields[b"edge"]) for _, fields in redis_state.xrange(keys.activity("alpha"))]
    assert [edge["state"] for edge in kept] == world.states()
