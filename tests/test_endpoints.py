"""Commands in another terminal speak with the simulators of the run that is alive, and with no others."""

from __future__ import annotations

import json
import subprocess
import sys

from livermore import endpoints

SERVED = {"toy": {"rest": "http://127.0.0.1:1", "ws": "ws://127.0.0.1:1"}}


def test_what_a_living_run_tells_is_known_until_it_withdraws(tmp_path):
    assert endpoints.told(tmp_path) == {}
    endpoints.tell(tmp_path, SERVED)
    assert endpoints.told(tmp_path) == SERVED
    endpoints.withdraw(tmp_path)
    assert endpoints.told(tmp_path) == {}


def test_what_a_killed_run_told_is_forgotten(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / "endpoints.json").write_text(json.dumps({"pid": dead.pid, "endpoints": SERVED}))
    assert endpoints.told(tmp_path) == {}
