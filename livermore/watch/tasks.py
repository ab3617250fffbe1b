"""Celery tasks of what is looked at from outside; all of them are asked for by beat."""

from __future__ import annotations

import time

from livermore.celery import app
from livermore.watch import latency, moves


@app.task(name="watch.sample_latency", expires=4)
def sample_latency() -> None:
    """Look how old the newest quotes were when they came."""
    latency.sample(_now_ms())


@app.task(name="watch.note_moves", expires=50)
def note_moves() -> None:
    """Find the moves of the last minutes, and who made them first."""
    moves.note(_now_ms())


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
