"""Children are restarted, stopped in order, and never left behind; real processes throughout."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from livermore.child_logs import ErrorTail, trim
from livermore.supervisor import Role, Supervisor

WITHIN_S = 40.0

SLEEPER = "import time; time.sleep(600)"
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(600)
"""
LAST_WORDS = """
import signal, sys, time
def leave(*_):
    with open(sys.argv[1], "a") as file:
        file.write(sys.argv[2] + "\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
print("ready", flush=True)
time.sleep(600)
"""


def role(name: str, code: str, *arguments: str, **more: object) -> Role:
    return Role(name, (sys.executable, "-c", code, *arguments), **more)  # type: ignore[arg-type]


def wait_until(is_true: Callable[[], object]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not is_true():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def exists(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def supervisor(tmp_path: Path, said: list[str]) -> Iterator[Supervisor]:
    children = Supervisor(tmp_path / "log", tmp_path, said.append)
    yield children
    children.stop(is_urgent=lambda: True)


def test_a_child_that_dies_is_said_and_started_again_with_growing_delay(
    supervisor: Supervisor, said: list[str]
) -> None:
    child = supervisor.start(role("short", "print('the reason', flush=True); raise SystemExit(3)"))

    def has_died(times: int) -> bool:
        supervisor.watch()
        return child.deaths == times

    wait_until(lambda: has_died(1))
    wait_until(lambda: has_died(2))

    assert "short ended with exit code 3 (the reason); again in 1 s" in said[0]
    assert "again in 2 s" in said[1]


def test_a_child_killed_from_outside_comes_back_as_a_new_process(supervisor: Supervisor, said: list[str]) -> None:
    child = supervisor.start(role("victim", SLEEPER))
    first = child.process.pid
    os.kill(first, signal.SIGKILL)

    def is_back() -> bool:
        supervisor.watch()
        return child.process.pid != first and child.is_running

    wait_until(is_back)
    assert "was killed by SIGKILL" in said[0]


def test_children_stop_rank_by_rank(supervisor: Supervisor, tmp_path: Path) -> None:
    order = tmp_path / "order"
    for name, rank in (("last", 2), ("first", 0), ("second", 1)):
        supervisor.start(role(name, LAST_WORDS, str(order), name, stop_rank=rank))
        wait_until(lambda name=name: "ready" in supervisor.log_of(name).read_text())

    killed = supervisor.stop()

    assert killed == []
    assert order.read_text().split() == ["first", "second", "last"]


def test_a_child_that_ignores_sigterm_is_killed_at_its_deadline(supervisor: Supervisor) -> None:
    child = supervisor.start(role("deaf", STUBBORN, stop_within_s=0.3))
    wait_until(lambda: "deaf" in supervisor.log_of("deaf").read_text())

    assert supervisor.stop() == ["deaf"]
    assert not exists(child.process.pid)


def test_nobody_is_waited_for_when_it_is_urgent(supervisor: Supervisor) -> None:
    supervisor.start(role("deaf", STUBBORN, stop_within_s=600))
    wait_until(lambda: "deaf" in supervisor.log_of("deaf").read_text())
    begun = time.monotonic()

    assert supervisor.stop(is_urgent=lambda: True) == ["deaf"]
    assert time.monotonic() - begun < WITHIN_S


def test_what_a_child_started_and_forgot_is_gone_after_stop(supervisor: Supervisor) -> None:
    code = f"""
import subprocess, sys, time
print(subprocess.Popen([sys.executable, "-c", {SLEEPER!r}]).pid, flush=True)
time.sleep(600)
"""
    supervisor.start(role("parent", code))
    wait_until(lambda: supervisor.log_of("parent").read_text().strip())
    grandchild = int(supervisor.log_of("parent").read_text())

    supervisor.stop()

    wait_until(lambda: not exists(grandchild))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children that their parent died")
def test_children_die_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    code = f"""
import sys, time
from pathlib import Path
from livermore.supervisor import Role, Supervisor
children = Supervisor(Path({str(tmp_path)!r}), Path("."), print)
child = children.start(Role("orphan", (sys.executable, "-c", {SLEEPER!r})))
print(child.process.pid, flush=True)
time.sleep(600)
"""
    root = Path(__file__).resolve().parent.parent
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=root)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert exists(child)

    parent.kill()
    parent.wait()

    wait_until(lambda: not exists(child))


def test_the_former_log_is_kept_and_a_role_sees_its_own_environment(supervisor: Supervisor) -> None:
    for text in ("one", "two"):
        supervisor.start(role("echo", "import os; print(os.environ['TEXT'])", environment={"TEXT": text}))
        wait_until(lambda text=text: text in supervisor.log_of("echo").read_text())

    assert supervisor.log_of("echo").with_suffix(".log.1").read_text() == "one\n"
    assert "TEXT" not in os.environ


def test_errors_of_a_log_are_shown_once_a_minute(tmp_path: Path) -> None:
    now = [0.0]
    tail = ErrorTail(tmp_path, clock=lambda: now[0])
    log = tmp_path / "web.log"
    line = "2026-01-01T00:00:0{0}.000Z ERROR candle.failed took_ms={0}\n"
    log.write_text("2026-01-01T00:00:00.000Z INFO fine\n" + line.format(1) + line.format(2))
    assert list(tail.new_errors()) == ["web: ERROR candle.failed took_ms=1"]

    with log.open("a") as file:
        file.write(line.format(3))
    assert list(tail.new_errors()) == []

    now[0] = 61.0
    with log.open("a") as file:
        file.write(line.format(4) + "half a line of ERROR")
    assert list(tail.new_errors()) == ["web: ERROR candle.failed took_ms=4"]


def test_an_overgrown_log_is_moved_aside_while_its_writer_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    with log.open("ab") as writer:
        writer.write(b"x" * 100)
        writer.flush()
        trim(tmp_path, largest_bytes=50)
        writer.write(b"y")
    assert log.read_bytes() == b"y"
    assert (tmp_path / "web.log.1").read_bytes() == b"x" * 100
