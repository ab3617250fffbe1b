"""`manage.py up` as a person meets it: ready, one at a time, and gone without a trace after Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

ROOT = Path(__file__).resolve().parent.parent
READY_WITHIN_S = 120.0
STOPPED_WITHIN_S = 60.0
READY = re.compile(r"^Livermore is ready: http://127\.0\.0\.1:(\d+)/", re.MULTILINE)


class Up:
    """A running `up` with a data folder of its own."""

    def __init__(self, var: Path) -> None:
        self.var = var
        self.output = var.with_suffix(".out")
        # What other tests point at a broker or a database must not reach this one.
        kept = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG")}
        self.environment = {**kept, "LIVERMORE_VAR": str(var)}
        with self.output.open("wb") as out:
            self.process = subprocess.Popen(
                self.command("--exchanges", "binance,coinbase"),
                cwd=ROOT,
                env=self.environment,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @staticmethod
    def command(*arguments: str) -> list[str]:
        return [sys.executable, "manage.py", "up", *arguments]

    def text(self) -> str:
        return self.output.read_text(errors="replace")

    def wait_until_ready(self) -> int:
        deadline = time.monotonic() + READY_WITHIN_S
        while not (found := READY.search(self.text())):
            assert self.process.poll() is None, self.text()
            assert time.monotonic() < deadline, self.text()
            time.sleep(0.1)
        return int(found[1])

    def left(self) -> list[str]:
        """Processes that still know this run's data folder."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                knows = str(self.var).encode() in (folder / "environ").read_bytes()
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if knows and line and folder.name != str(os.getpid()):
                found.append(line)
        return found


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    run = Up(tmp_path / "var")
    yield run
    if run.process.poll() is None:
        run.process.kill()
        run.process.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes under /proc")
def test_up_becomes_ready_refuses_a_second_one_and_leaves_nothing_behind(up: Up) -> None:
    port = up.wait_until_ready()

    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/health/ready")
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    assert json.loads(answer.read())["ready"] is True
    assert "Flower   http://127.0.0.1:" in up.text()
    assert re.search(r"user admin, password \S{16} \(shown only now", up.text())

    second = subprocess.run(
        up.command(), cwd=ROOT, env=up.environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert second.returncode == 2
    assert "already running" in second.stderr
    assert second.stderr.count("\n") == 1

    examined = subprocess.run(
        [sys.executable, "manage.py", "doctor", "--offline", "--json"],
        cwd=ROOT, env=up.environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert examined.returncode == 0, examined.stdout

    assert len(up.left()) > 8
    os.killpg(up.process.pid, signal.SIGINT)
    assert up.process.wait(timeout=STOPPED_WITHIN_S) == 0
    assert up.left() == []
