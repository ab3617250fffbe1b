"""Celery tasks that keep the symbol tables up to date; each is one call of a service."""

from __future__ import annotations

import logging
from dataclasses import asdict

import exchanges.services
from livermore.celery import app
from livermore.core.errors import Transient
from livermore.logs import event
from symbols import services

log = logging.getLogger(__name__)

_RETRIES = {
    "autoretry_for": (Transient,),
    "retry_backoff": 1,
    "retry_backoff_max": 30,
    "retry_jitter": True,
    "max_retries": 5,
}


@app.task(name="symbols.sync", **_RETRIES)
def sync(exchange: str | None = None) -> None:
    """Sync one exchange; without a name, enqueue one task for each exchange that streams now.

    Nothing contacts a venue before somebody has started it, so beat's run skips the idle ones.
    """
    if exchange is None:
        for slug in exchanges.services.streaming():
            sync.delay(slug)
        return
    event(log, "symbols.synced", **asdict(services.sync(exchange, exchanges.services.rest(exchange))))


@app.task(name="symbols.refresh_tier1", **_RETRIES)
def refresh_tier1(exchange: str | None = None) -> None:
    """Refresh Tier 1 of one exchange; without a name, of each that streams now (see `sync`)."""
    if exchange is None:
        for slug in exchanges.services.streaming():
            refresh_tier1.delay(slug)
        return
    event(log, "symbols.tier1_refreshed", **asdict(services.refresh_tier1(exchange, exchanges.services.rest(exchange))))
