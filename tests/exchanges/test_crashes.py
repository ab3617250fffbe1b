"""A crash is told with its traceback and without secrets; five within a minute are a loop, in which there is rest."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from exchanges import control, crashes, geo, observed, registry
from exchanges.crashes import Crash, Crashes, redacted
from exchanges.host import Host
from exchanges.lifecycle import State
from exchanges.running import Plan, Wiring
from exchanges.stream import Stream
from exchanges.venue import Endpoint, Limits
from livermore.core import keys
from tests.support.budgets import OpenBudget
from tests.support.simulation import Running, simulated
from tests.support.waiting import until

ROOT = Path(__file__).resolve().parents[2]
VENUE = "binance"
NOW_MS = 1_790_000_000_000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    now = [NOW_MS]
    monkeypatch.setattr(crashes, "_now_ms", lambda: now[0])
    return now


def crashed(times: int, clock: list[int], every_ms: int = 1_000) -> Crashes:
    found = Crashes()
    for _ in range(times):
        clock[0] += every_ms
        found.note("it broke")
    return found


# ---- alone -----------------------------------------------------------------------------------------


def test_four_in_a_minute_are_no_loop_and_five_are(clock):
    assert (crashed(4, clock).is_looping, crashed(4, clock).rest_s) == (False, 0.0)
    found = crashed(5, clock)
    assert (found.is_looping, found.rest_s) == (True, 10.0)
    assert found.complaint == "crashed 5 times, and rests longer after each; the last: it broke"
    assert not crashed(20, clock, every_ms=16_000).is_looping, "never five within a minute"


def test_each_further_crash_doubles_the_rest_up_to_five_minutes(clock):
    found, rests = crashed(5, clock), []
    for _ in range(7):
        rests.append(found.rest_s)
        clock[0] += int(found.rest_s * 1000)
        assert found.rest_s == 0
        found.note("again")
    assert rests == [10, 20, 40, 80, 160, 300, 300]


def test_a_loop_ends_when_nothing_crashed_for_a_rest_and_a_minute(clock):
    found = crashed(5, clock)
    clock[0] += 70_000
    assert found.is_looping
    clock[0] += 1
    assert (found.is_looping, found.complaint) == (False, "")
    assert found.fields()["traceback"] == "it broke", "still to be read"
    found.note("much later")
    assert not found.is_looping


def test_the_next_process_goes_on_counting(clock):
    first = crashed(4, clock)
    told = {name: str(value) for name, value in first.fields().items()}
    heir = Crashes()
    heir.load(told)
    heir.note("killed")
    assert heir.is_looping
    heir.load({})
    assert len(heir.newest()) == 5


def test_a_crash_is_counted_once(clock):
    found = Crashes()
    for _ in range(5):
        found.take([Crash(NOW_MS, "the same")])
    assert len(found.newest()) == 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://:hunter2@10.0.0.1:6379/1 is away", "redis://***@10.0.0.1:6379/1 is away"),
        ("wss://ws.example/endpoint?token=abc.def&connectId=7", "wss://ws.example/endpoint?token=***&connectId=7"),
        ("{'api_key': 'abc', 'side': 'buy'}", "{'api_key': ***, 'side': 'buy'}"),
        ('"privateKey": "-----BEGIN EC PRIVATE KEY-----\nMHcC\n-----END EC PRIVATE KEY-----\n"', '"privateKey": ***'),
        ("Authorization: Bearer eyJhbGciOi.eyJzdWIi.sig", "Authorization: *** ***"),
        ("password=hunter2", "password=***"),
        ("SECRET_KEY = hunter2", "SECRET_KEY = ***"),
        ("at " + "a1" * 20, "at ***"),
        ("KeyError: 'BTC-USDT'", "KeyError: 'BTC-USDT'"),
    ],
)
def test_what_looks_like_a_secret_is_not_shown(text: str, shown: str):
    assert redacted(text) == shown


def test_a_long_traceback_keeps_its_end():
    assert redacted("x " * 10_000 + "ValueError: the end").endswith("ValueError: the end")
    assert len(redacted("x " * 10_000)) == crashes.LONGEST_TEXT


# ---- a stream and its host -------------------------------------------------------------------------


class Broken:
    """A session that a bug of ours ends at its first frame."""

    def opened(self, now: int) -> Any:
        raise ValueError("unforeseen: redis://:hunter2@localhost")

    def tick(self, now: int) -> Any:
        return ()


def host_of(sim: Running, is_broken: threading.Event) -> Host:
    """A host whose venue is simulated and whose adapter is broken while `is_broken`."""
    real = registry.venue(VENUE)
    endpoint = Endpoint(**sim.endpoints[VENUE])
    listings = [x for x in sim.simulation.market.listings if x.venue == VENUE]
    names = {x.native: x.symbol for x in listings}

    def session(*arguments: Any) -> Any:
        return Broken() if is_broken.is_set() else real.session(*arguments)

    def stream(plan: Plan, wanted: Any, epoch: int) -> Stream:
        return Stream(
            replace(real, session=session), real.rest(endpoint, OpenBudget()), plan.limits, list(wanted),
            connects=OpenBudget(), epoch=epoch, publish=lambda batch: None, report=lambda gap: None, names=wanted,
        )  # fmt: skip

    limits = Limits(topics_per_connection=3, messages_per_second=5.0, connection_lifetime_s=None)
    plan = Plan(VENUE, "Binance", True, endpoint, True, limits, geo.GeoRule(VENUE, "Binance"))
    wiring = Wiring(
        plans=lambda: {VENUE: plan}, universe=lambda slug: names, sync=lambda plan: None, stream=stream,
        started=lambda slug, names: None, locate=lambda: geo.Location("DE", None, "test"),
    )  # fmt: skip
    return Host(wiring, "h1", autostart=[VENUE])


@pytest.mark.django_db
def test_a_stream_that_crashes_again_and_again_is_degraded_says_why_and_recovers(redis_state, monkeypatch, capsys):
    monkeypatch.setattr(crashes, "CALM_AFTER_MS", 500)
    monkeypatch.setattr(crashes, "FIRST_REST_MS", 1_000)
    monkeypatch.setattr(crashes, "LONGEST_REST_MS", 1_000)
    is_broken = threading.Event()
    is_broken.set()
    with simulated(VENUE, pace=3) as sim:
        host = host_of(sim, is_broken)
        thread = threading.Thread(target=host.run)
        thread.start()
        try:
            until(lambda: observed.stream_state(VENUE).get("state") == State.DEGRADED, within_s=15)
            told = until(lambda: (s := observed.stream_state(VENUE)).get("crash_looping") == "1" and s)
            assert int(told["crashes"]) >= 5
            assert "ValueError: unforeseen: redis://***@localhost" in told["reason"]
            assert told["traceback"].startswith("Traceback")
            assert "hunter2" not in told["traceback"]
            _is_shown_everywhere(capsys)
            is_broken.clear()
            until(lambda: observed.stream_state(VENUE).get("state") == State.STREAMING, within_s=20)
            told = observed.stream_state(VENUE)
            assert (told["crash_looping"], told["reason"]) == ("0", "")
            assert "ValueError" in told["traceback"], "for whoever looks later"
        finally:
            host.stop()
            thread.join(15)


def _is_shown_everywhere(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("exchange_status", VENUE)
    table = capsys.readouterr().out
    assert "degraded" in table
    assert f"{VENUE} crashed:\nTraceback" in table
    call_command("exchange_status", VENUE, json=True)
    [one] = json.loads(capsys.readouterr().out)
    assert (one["state"], one["crash_looping"]) == ("degraded", True)
    assert "ValueError: unforeseen" in one["traceback"]


def test_a_runner_whose_steps_crash_rests_but_still_obeys(redis_state, monkeypatch):
    """The symbols cannot be read, for a reason nobody foresaw; a stop is obeyed all the same."""
    monkeypatch.setattr(crashes, "LOOP_OF", 2)
    with simulated(VENUE, is_paused=True) as sim:
        host = host_of(sim, threading.Event())
        calls: list[int] = []

        def universe(slug: str) -> dict[str, str]:
            calls.append(1)
            raise KeyError("no such thing")

        host._wiring = replace(host._wiring, universe=universe)
        thread = threading.Thread(target=host.run)
        thread.start()
        try:
            until(lambda: observed.stream_state(VENUE).get("state") == State.DEGRADED, within_s=15)
            tried = len(calls)
            assert "KeyError: 'no such thing'" in observed.stream_state(VENUE)["reason"]
            command = control.send(VENUE, control.Verb.STOP, issued_by="test", wait_s=10)
            assert control.await_result(command, 10).status == control.Status.DONE
            assert len(calls) == tried, "it rested"
        finally:
            host.stop()
            thread.join(15)


# ---- processes -------------------------------------------------------------------------------------

PROGRAM = """
import django, sys
django.setup()
from exchanges import geo, host
from exchanges.host import Host
from exchanges.running import Plan, Wiring
from exchanges.venue import Endpoint, Limits
host.BEAT_EVERY_S = 0.1
from tests.support.scripted_stream import ScriptedStream
plan = Plan("alpha", "Alpha", True, Endpoint("http://127.0.0.1:1", "ws://127.0.0.1:1"), False, Limits(10, 5.0, None),
            geo.GeoRule("alpha", "Alpha"))
Host(Wiring(
    plans=lambda: {"alpha": plan}, universe=lambda slug: {"AB": "A-B"}, sync=lambda plan: None,
    stream=lambda plan, names, epoch: ScriptedStream(names, epoch), started=lambda slug, names: None,
    locate=lambda: geo.Location("DE", None, "test"), watch=lambda change: print(change.state, flush=True),
), "h1", autostart=["alpha"]).run()
"""


def test_a_host_that_is_killed_five_times_in_a_minute_rests_before_it_streams_again(
    redis_state, redis_server, settings
):
    own = {"LIVERMORE_VAR": str(settings.VAR_DIR), "DJANGO_SETTINGS_MODULE": "livermore.settings"}
    environment = {**os.environ, **redis_server.environment(), **own}
    for kill in range(1, 7):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout is not None
            wanted = "streaming" if kill <= 5 else "degraded"
            states = []
            for line in process.stdout:
                states.append(line.strip())
                if states[-1] == wanted:
                    break
            assert states[-1] == wanted, f"life {kill}: {states}"
            if kill == 6:
                assert "streaming" not in states
                told = until(lambda: (s := observed.stream_state("alpha")).get("state") == "degraded" and s)
                assert (told["crashes"], told["crash_looping"]) == ("5", "1")
                assert "the process of host h1 died without a traceback" in told["reason"]
            else:
                until(lambda: observed.stream_state("alpha").get("state") == "streaming")
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stdout.close()


# ---- pages -----------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_loop_of_crashes_is_a_banner_and_its_traceback_is_on_the_card(redis_state, admin_client: Client):
    now_ms = crashes._now_ms()
    fields = {"state": "degraded", "reason": "crashed 6 times", "host": "h1", "epoch": 1, "updated_ms": now_ms}
    loop = {"crashes": 6, "crash_looping": 1, "crashed_ms": now_ms, "traceback": "Traceback\nValueError: <unforeseen>"}
    redis_state.hset(keys.stream(VENUE), mapping={**fields, **loop})
    page = admin_client.get("/").content.decode()
    assert "crashes again and again and rests in between: crashed 6 times" in page
    assert "ValueError: &lt;unforeseen&gt;" in page
    api = admin_client.get(f"/api/v1/exchanges/{VENUE}").json()
    found = api.get("stream", api)
    assert found["is_crashing"] is True
    assert found["traceback"].endswith("<unforeseen>")
