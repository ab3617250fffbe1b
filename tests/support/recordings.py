"""Recorded market data, kept beside the project: a test that needs it skips where it is absent."""

from __future__ import annotations

from pathlib import Path

import pytest

RECORDINGS = Path(__file__).resolve().parents[2] / ".." / "shared" / "recordings"


def recording(path: str) -> Path:
    """The file of a recording, such as `kucoin/klines_5m_ADA-USDT_2023-02-19.csv.gz`."""
    file = RECORDINGS / path
    if not file.exists():
        pytest.skip(f"recorded market data is absent: {path}")
    return file
