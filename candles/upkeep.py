"""Tasks that keep hot windows where they belong; each is one call of a service."""

from __future__ import annotations

from candles.services import cutover, overflow
from exchanges import registry
from livermore.celery import TryAgain, app


@app.task(name="candles.settle_windows", base=TryAgain)
def settle_windows(exchange: str | None = None) -> None:
    """Move series into the shared pool and out of it; without a name, one task for each exchange."""
    if exchange is None:
        for slug in registry.slugs():
            settle_windows.delay(slug)
        return
    overflow.settle(exchange)
    cutover.keep(exchange)
