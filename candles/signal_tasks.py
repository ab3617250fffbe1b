"""Celery tasks of signals: decode, one service call, enqueue what it returned."""

from __future__ import annotations

import time

from candles.services import bar_signals, signals
from livermore.celery import app


@app.task(name="signals.evaluate", expires=5)
def evaluate_signals() -> None:
    """Evaluate the fast signals of every base whose quotes changed lately."""
    signals.evaluate(now_ms())


@app.task(name="signals.sweep", expires=2)
def sweep_signals() -> None:
    """Let time pass for open signals even when no trade comes; have bars evaluated that have closed."""
    for due in bar_signals.claim(now_ms()):
        evaluate_bar.apply_async(due, queue="default", argsrepr=due[0])
    signals.evaluate(now_ms(), has_open=True)


@app.task(name="signals.bar")
def evaluate_bar(member: str, lease_ms: int) -> None:
    """Evaluate the slower signals of one closed bar of one asset; a crash lets the lease run out."""
    bar_signals.evaluate(member, lease_ms, now_ms())


def now_ms() -> int:
    """Our clock."""
    return time.time_ns() // 1_000_000
