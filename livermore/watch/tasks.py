"""Celery tasks of what is looked at from outside; all of them are asked for by beat."""

from __future__ import annotations

import time

from livermore.celery import app
from livermore.watch import activity, latency, moves, reception, telling


@app.task(name="watch.sample_latency", expires=4)
def sample_latency() -> None:
    """Look how old the newest quotes were when they came."""
    latency.sample(_now_ms())


@app.task(name="watch.note_moves", expires=50)
def note_moves() -> None:
    """Find the moves of the last minutes, and who made them first."""
    moves.note(_now_ms())


@app.task(name="watch.reception", expires=4)
def watch_reception() -> None:
    """Look whether data of each exchange comes."""
    reception.watch(_now_ms())


@app.task(name="watch.keep_activity", expires=50)
def keep_activity() -> None:
    """Store what happened to the exchanges, and forget what is too old."""
    activity.keep(_now_ms())
    reception.forget(_now_ms())


@app.task(name="watch.tell_operators", expires=8)
def tell_operators() -> None:
    """Tell operators of what has ceased to come, and of what comes again."""
    telling.tell(_now_ms())


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
