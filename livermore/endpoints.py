"""Where a running `up` serves its simulators, so that commands in other terminals speak with the same ones."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

_FILE = "endpoints.json"


def told(var_dir: Path) -> dict[str, Any]:
    """The addresses in use, in the shape of EXCHANGE_ENDPOINTS; empty when nothing runs from `var_dir`."""
    with suppress(OSError, ValueError, KeyError):
        said = json.loads((var_dir / _FILE).read_text())
        os.kill(said["pid"], 0)  # a file of a run that was killed says nothing
        return dict(said["endpoints"])
    return {}


def tell(var_dir: Path, endpoints: Mapping[str, Any]) -> None:
    """Say where this process's children serve them."""
    (var_dir / _FILE).write_text(json.dumps({"pid": os.getpid(), "endpoints": endpoints}))


def withdraw(var_dir: Path) -> None:
    """This process's run is over."""
    (var_dir / _FILE).unlink(missing_ok=True)
