"""Celery tasks of no one app: the canary's hops from worker to worker."""

from __future__ import annotations

from typing import Any

from candles.services import canary
from livermore.celery import TryAgain, app

EXPIRES_S = 60


def flies_on(body: dict[str, Any]) -> bool:
    """Is this message of the ticks queue a canary? Then it goes on from there to the candles worker."""
    if not canary.is_one(body):
        return False
    exchange, sent_ms = canary.arrived(body)
    fold_canary.apply_async((exchange, sent_ms), argsrepr=exchange)
    return True


def swept() -> None:
    """Beat asked for a sweep, and it runs."""
    canary.swept()


@app.task(name="candles.canary", base=TryAgain, expires=EXPIRES_S)
def fold_canary(exchange: str, sent_ms: int) -> None:
    """From the candles worker to the signals worker."""
    canary.folded(exchange, sent_ms)
    publish_canary.apply_async((exchange, sent_ms), argsrepr=exchange)


@app.task(name="signals.canary", base=TryAgain, expires=EXPIRES_S)
def publish_canary(exchange: str, sent_ms: int) -> None:
    """From the signals worker to whoever reads."""
    canary.published(exchange, sent_ms)
