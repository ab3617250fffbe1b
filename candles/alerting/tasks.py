"""Celery tasks that raise alerts by the clock; `candles.tasks` imports them, so that workers know them."""

from __future__ import annotations

from candles.services import intrabar
from livermore.celery import app


def forming(exchange: str) -> None:
    """Have the bars that still form judged, where a deployment asks for it and it is time again."""
    if intrabar.should_evaluate(exchange):
        evaluate_intrabar.delay(exchange)


@app.task(name="candles.intrabar", expires=8)
def evaluate_intrabar(exchange: str) -> None:
    """Raise alerts on bars that still form."""
    intrabar.evaluate(exchange)
