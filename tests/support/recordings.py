"""Where recorded market data lies; tests that read it skip, with the reason, where it is absent."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

_RECORDINGS = Path(__file__).resolve().parents[2] / ".." / "shared" / "recordings"


def recording(path: str) -> Path:
    """A recorded file, such as `binance/ws_spot_2021-10-12.jsonl.gz`; skips the test without it."""
    found = _RECORDINGS / path
    if not found.exists():
        pytest.skip(f"no recording {path}: recorded market data is not part of the project")
    return found


def recorded_rows(path: str) -> list[dict[str, Any]]:
    """The rows of a recorded `.jsonl.gz`."""
    with gzip.open(recording(path), "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def recorded_frames(path: str) -> list[bytes]:
    """The frames that came in, in order, as the venue sent them."""
    return [row["text"].encode() for row in recorded_rows(path) if row["dir"] == "in"]
