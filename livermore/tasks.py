"""Celery tasks of no one app: the canary's hops from worker to worker."""

from __future__ import annotations

from candles.services import canary
from livermore.celery import TryAgain, app

EXPIRES_S = 60


def send_on(exchange: str, sent_ms: int) -> None:
    """From the ticks worker to the candles worker."""
    fold_canary.apply_async((exchange, sent_ms), argsrepr=exchange)


@app.task(name="candles.canary", base=TryAgain, expires=EXPIRES_S)
def fold_canary(exchange: str, sent_ms: int) -> None:
    """From the candles worker to the signals worker."""
    canary.folded(exchange, sent_ms)
    publish_canary.apply_async((exchange, sent_ms), argsrepr=exchange)


@app.task(name="signals.canary", base=TryAgain, expires=EXPIRES_S)
def publish_canary(exchange: str, sent_ms: int) -> None:
    """From the signals worker to whoever reads."""
    canary.published(exchange, sent_ms)
