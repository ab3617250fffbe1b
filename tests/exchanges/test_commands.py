"""The commands people type: what they print and how they exit (contract §2)."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import redis
from django.core.management import CommandError, call_command

from candles.models import Candle
from candles.services import drift
from exchanges import control, lease, observed
from exchanges.control import Status, Verb
from exchanges.models import Exchange
from exchanges.state import state_redis
from livermore.core import keys
from livermore.core.candle import BUCKET_MS, Quality, Source
from tests.support import builders
from tests.support.redis_server import RedisServer
from tests.support.waiting import until

ROOT = Path(__file__).resolve().parents[2]


def refusal(*arguments: str, **options: Any) -> CommandError:
    with pytest.raises(CommandError) as caught:
        call_command(*arguments, **options)
    assert "\n" not in str(caught.value)
    return caught.value


# ---- in this process -----------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.usefixtures("redis_state")
class TestWrongInput:
    """One line that says what is accepted, and its exit code."""

    @pytest.mark.parametrize("command", ["start_exchange", "stop_exchange", "pause_exchange", "resume_exchange"])
    def test_an_unknown_exchange_is_six_and_the_known_ones_are_named(self, command: str) -> None:
        error = refusal(command, "nowhere")
        assert error.returncode == 6
        assert "accepted: binance" in str(error)

    def test_a_disabled_exchange_is_six(self) -> None:
        Exchange.objects.filter(pk="coinbase").update(enabled=False)
        error = refusal("start_exchange", "coinbase")
        assert error.returncode == 6
        assert "disabled" in str(error)

    @pytest.mark.parametrize("wait", ["x", "0", "-1", "nan", "1e9"])
    def test_a_wait_that_is_no_number_of_seconds_is_two(self, wait: str) -> None:
        error = refusal("start_exchange", "coinbase", f"--wait={wait}")
        assert error.returncode == 2
        assert "is no number of seconds" in str(error)

    def test_here_and_on_exclude_each_other(self) -> None:
        assert refusal("start_exchange", "coinbase", "--here", "--on", "h1").returncode == 2

    def test_autostart_of_an_unknown_exchange_is_two(self) -> None:
        error = refusal("stream_host", "--autostart", "nowhere")
        assert error.returncode == 2
        assert "accepted: binance" in str(error)

    def test_status_of_an_unknown_exchange_is_six(self) -> None:
        assert refusal("exchange_status", "nowhere").returncode == 6


@pytest.mark.django_db
def test_without_redis_a_command_says_so_in_one_line(settings: Any) -> None:
    settings.STATE_REDIS_URL = "redis://127.0.0.1:1/0"
    error = refusal("stop_exchange", "coinbase")
    assert error.returncode == 5
    assert "is Livermore running?" in str(error)


_ONE_AFTER_ANOTHER = """
import sys
from django.core.management import execute_from_command_line
for line in sys.argv[1:]:
    try:
        execute_from_command_line(["manage.py", *line.split()])
    except SystemExit as end:
        print(end.code, flush=True)
"""


def test_without_tables_every_command_says_in_one_line_what_makes_them(tmp_path: Path) -> None:
    commands = ("start_exchange x", "exchange_status x", "sync_symbols x", "refresh_tier1 x", "sync_symbols")
    commands += ("stream_host --autostart x",)
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "livermore.settings", "LIVERMORE_VAR": str(tmp_path)}
    environment["DATABASE_URL"] = f"sqlite:///{tmp_path / 'empty.sqlite3'}"
    run = subprocess.run(
        [sys.executable, "-c", _ONE_AFTER_ANOTHER, *commands],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert run.stdout.split() == ["5"] * len(commands)
    assert len(run.stderr.splitlines()) == len(commands)
    assert all("has no tables" in line and "make run" in line for line in run.stderr.splitlines())


@pytest.mark.django_db
@pytest.mark.usefixtures("redis_state")
def test_a_command_that_nobody_runs_in_time_is_five_and_expires() -> None:
    assert refusal("stop_exchange", "coinbase", "--wait", "0.3").returncode == 5
    (command_id,) = sent("coinbase")
    assert control.result(command_id).status is Status.EXPIRED


class Witness:
    """Sees every connection and name lookup of this process while `is_watching`."""

    def __init__(self) -> None:
        self.is_watching = False
        self.seen: set[tuple[str, Any]] = set()
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.is_watching and event == "socket.connect":
            self.seen.add((event, arguments[1]))
        elif self.is_watching and event in ("socket.getaddrinfo", "socket.gethostbyname"):
            self.seen.add((event, arguments[0]))


@pytest.fixture(scope="module")
def witness() -> Witness:
    """One for all tests: an audit hook cannot be removed."""
    return Witness()


@pytest.mark.django_db
@pytest.mark.parametrize("command", [("start_exchange", "binance"), ("stream_host", "--autostart", "binance")])
def test_a_refused_place_is_three_without_a_socket_or_a_name_lookup(
    command: tuple[str, ...], settings: Any, redis_state: redis.Redis, witness: Witness
) -> None:
    settings.LIVERMORE_REGION = "US"
    port = redis_state.connection_pool.connection_kwargs["port"]
    witness.is_watching = True
    socket.create_connection(("127.0.0.1", port)).close()
    error = refusal(*command)
    witness.is_watching = False
    assert error.returncode == 3
    assert "binance_us" in str(error)
    assert witness.seen == {("socket.connect", ("127.0.0.1", port)), ("socket.getaddrinfo", "127.0.0.1")}
    assert lease.holder("binance") is None


@pytest.mark.django_db
def test_status_shows_holder_rate_and_reason_in_aligned_columns(
    redis_state: redis.Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    fields = {"state": "streaming", "host": "h1", "epoch": 7, "region": "DE", "sockets": 2, "wanted": 100}
    redis_state.hset(keys.stream("coinbase"), mapping={**fields, "acked": 100, "frames_per_s": 41.5, "reason": ""})
    call_command("exchange_status")
    heading, *rows = capsys.readouterr().out.splitlines()
    row = next(line for line in rows if line.startswith("coinbase"))
    assert row[heading.index("holder") :].split()[:3] == ["h1", "DE", "2"]
    assert row[heading.index("frames/s") :].startswith("41.5")
    call_command("exchange_status", "coinbase", "--json")
    (one,) = json.loads(capsys.readouterr().out)
    assert (one["holder"], one["epoch"], one["frames_per_s"], one["gaps_24h"]) == ("h1", 7, 41.5, 0)
    call_command("exchange_status", "binance", "--json")
    (idle,) = json.loads(capsys.readouterr().out)
    assert (idle["state"], idle["holder"]) == ("idle", None)
    assert "start_exchange binance" in idle["reason"]


@pytest.mark.django_db
def test_status_tells_what_does_not_fit_the_schema(
    redis_state: redis.Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe = redis_state.pipeline()
    now_ms = time.time_ns() // 1_000_000
    drift.stage(pipe, "mexc", Counter({"no channel": 5}), Counter({"Item.999": 12}), now_ms)
    pipe.execute()
    call_command("exchange_status", "mexc")
    lines = capsys.readouterr().out.splitlines()[2:]
    assert [line.rpartition(" (")[0] for line in lines] == [
        "mexc: fields no schema names: Item.999 ×12",
        "mexc: frames set aside: 5, newest reason: no channel",
    ]
    assert all(line.endswith(" s ago)") for line in lines)
    call_command("exchange_status", "mexc", "--json")
    (one,) = json.loads(capsys.readouterr().out)
    assert one["drift"] == {
        "unknown_fields": [{"what": "Item.999", "count": 12, "newest_ms": now_ms}],
        "rejected": [{"what": "no channel", "count": 5, "newest_ms": now_ms}],
    }


@pytest.mark.django_db
@pytest.mark.usefixtures("redis_state")
def test_the_proven_share_is_of_candles_made_of_trades(capsys: pytest.CaptureFixture[str]) -> None:
    btc = builders.symbol(Exchange.objects.get(pk="coinbase"), "BTC-USD")
    prices = dict.fromkeys(("open", "high", "low", "close", "volume"), Decimal(1))
    now_ms = time.time_ns() // 1_000_000

    def closed(number: int, source: Source, quality: Quality) -> None:
        open_ms = now_ms - now_ms % BUCKET_MS - number * BUCKET_MS
        Candle.objects.create(
            symbol=btc, timeframe="5m", open_ms=open_ms, source=source, quality=quality, **prices
        )

    def rate() -> float | None:
        call_command("exchange_status", "coinbase", "--json")
        (one,) = json.loads(capsys.readouterr().out)
        return one["proven_24h"]

    closed(9, Source.REST, Quality.PROVEN)
    closed(8, Source.ADOPTED, Quality.PROVEN)
    assert rate() is None
    call_command("exchange_status", "coinbase")
    heading, row = capsys.readouterr().out.splitlines()
    assert row[heading.index("proven 24h") :].startswith("-")
    closed(7, Source.TRADES, Quality.PENDING)
    closed(6, Source.TRADES, Quality.PROVEN)
    assert rate() == 1.0
    closed(5, Source.TRADES, Quality.CLEAN)
    closed(400, Source.TRADES, Quality.CLEAN)  # longer ago
    assert rate() == 0.5


def sent(exchange: str) -> list[str]:
    return [fields[b"id"].decode() for _, fields in state_redis().xrange(keys.control(exchange))]


# ---- in processes of their own -------------------------------------------------------------------


class Deployment:
    """A migrated database, the simulators, and commands in processes."""

    def __init__(self, folder: Path, server: RedisServer) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            **server.environment(),
            "LIVERMORE_VAR": str(folder),
            "DATABASE_URL": f"sqlite:///{folder / 'test.sqlite3'}",
            "EXCHANGE_ENDPOINTS": "{}",
        }
        self._running: list[subprocess.Popen[str]] = []
        self.manage("migrate", "-v0")

    def manage(self, *arguments: str, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run to the end; the exit code must be `code`."""
        done = subprocess.run(
            self._command(arguments), cwd=ROOT, env=self.environment | environment,
            capture_output=True, text=True, timeout=90, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def launch(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start a long-lived command; its standard output is a pipe, its log a file."""
        with (self.folder / "log").open("a") as log:
            process = subprocess.Popen(
                self._command(arguments), cwd=ROOT, env=self.environment | environment,
                stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        self._running.append(process)
        return process

    def simulate(self, name: str) -> None:
        """Every later command uses the simulator of this venue."""
        simulator = self.launch("simulate", name, "--json")
        assert simulator.stdout is not None
        self.environment["EXCHANGE_ENDPOINTS"] = simulator.stdout.readline()

    def end(self) -> None:
        """End what still runs."""
        for process in self._running:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def _command(self, arguments: tuple[str, ...]) -> list[str]:
        return [sys.executable, "manage.py", *arguments]


@pytest.fixture
def deployment(tmp_path: Path, redis_server: RedisServer, redis_state: redis.Redis) -> Iterator[Deployment]:
    """Nothing runs yet but Redis."""
    built = Deployment(tmp_path, redis_server)
    yield built
    built.end()


def ready_host(deployment: Deployment, name: str, *arguments: str) -> subprocess.Popen[str]:
    process = deployment.launch("stream_host", "--name", name, *arguments)
    until(lambda: (host := observed.host(name)) and host.state == "ready", within_s=30)
    return process


def end_of(process: subprocess.Popen[str], number: int) -> int:
    process.send_signal(number)
    return process.wait(timeout=15)


def test_an_idle_host_connects_nowhere_and_ends_with_zero(deployment: Deployment) -> None:
    host = ready_host(deployment, "h1")
    until(lambda: observed.stream_state("binance").get("state") == "idle")
    assert end_of(host, signal.SIGTERM) == 0
    assert observed.live_hosts() == []


def test_an_exchange_is_started_paused_resumed_and_stopped_by_commands(deployment: Deployment) -> None:
    deployment.simulate("coinbase")
    host = ready_host(deployment, "h1")
    assert deployment.manage("pause_exchange", "coinbase", code=2).stderr.count("\n") == 1

    started = deployment.manage("start_exchange", "coinbase", "--wait", "60", "--json")
    (line,) = started.stdout.splitlines()
    answer = json.loads(line)
    assert (answer["exchange"], answer["state"], answer["lease_epoch"]) == ("coinbase", "streaming", 1)
    assert answer["symbols"] > 0
    assert answer["sockets"] > 0
    assert answer["first_tick_ms"] >= 0

    held = deployment.manage("start_exchange", "coinbase", "--here", "--json", code=4)
    assert json.loads(held.stdout)["error"]["message"] == "coinbase is held by host h1, epoch 1"

    deployment.manage("pause_exchange", "coinbase")
    assert observed.stream_state("coinbase")["state"] == "paused"
    states = [line.split()[1] for line in deployment.manage("resume_exchange", "coinbase").stdout.splitlines()]
    assert states == ["resume", "connecting", "subscribing", "streaming", "streaming:"]
    deployment.manage("stop_exchange", "coinbase")
    assert lease.holder("coinbase") is None

    deployment.manage("start_exchange", "coinbase")
    assert end_of(host, signal.SIGTERM) == 0
    assert lease.holder("coinbase") is None


def test_with_no_live_host_start_becomes_the_host_until_interrupted(deployment: Deployment) -> None:
    deployment.simulate("coinbase")
    process = deployment.launch("start_exchange", "coinbase")
    assert process.stdout is not None
    lines = [process.stdout.readline().strip() for _ in range(6)]
    assert lines[0].endswith("this process is now its stream host, until Ctrl-C")
    assert [line.split()[1] for line in lines[1:5]] == ["checking_geo", "connecting", "subscribing", "streaming"]
    assert "first tick after" in lines[5]
    assert end_of(process, signal.SIGINT) == 0
    assert lease.holder("coinbase") is None


def test_a_venue_that_does_not_answer_is_five(deployment: Deployment) -> None:
    nobody = json.dumps({"coinbase": {"rest": "http://127.0.0.1:1", "ws": "ws://127.0.0.1:1"}})
    done = deployment.manage("start_exchange", "coinbase", "--here", "--wait", "2", code=5, EXCHANGE_ENDPOINTS=nobody)
    assert "coinbase does not stream in time: still backing_off" in done.stderr


def test_a_start_for_a_host_that_is_down_runs_once_when_it_comes_up(deployment: Deployment) -> None:
    deployment.simulate("coinbase")
    waiting = deployment.launch("start_exchange", "coinbase", "--on", "h7", "--wait", "60", "--json")
    until(lambda: sent("coinbase"), within_s=30)
    ready_host(deployment, "h7")
    output, _ = waiting.communicate(timeout=60)
    assert waiting.returncode == 0
    assert json.loads(output)["host"] == "h7"


def test_a_killed_host_is_succeeded_at_once_by_one_of_the_same_name_which_runs_what_it_ran(
    deployment: Deployment,
) -> None:
    deployment.simulate("coinbase")
    first = ready_host(deployment, "h1")
    deployment.manage("start_exchange", "coinbase")
    before = observed.host("h1")
    first.send_signal(signal.SIGKILL)
    killed_at = time.monotonic()
    first.wait(timeout=5)
    deployment.launch("stream_host", "--name", "h1")
    until(lambda: (held := lease.holder("coinbase")) and held.epoch == 2, within_s=20)
    until(lambda: observed.stream_state("coinbase").get("epoch") == "2", within_s=10)
    until(lambda: observed.stream_state("coinbase").get("state") == "streaming", within_s=20)
    print(f"streaming {time.monotonic() - killed_at:.1f} s after the kill")
    now = observed.host("h1")
    assert before is not None
    assert now is not None
    assert now.owner != before.owner
    command_id = control.send("coinbase", Verb.STOP, issued_by="test", wait_s=15, target="h1")
    assert control.await_result(command_id, 20).status is Status.DONE
