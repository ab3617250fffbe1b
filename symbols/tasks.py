"""Celery tasks that keep the symbol tables up to date; each is one call of a service."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import asdict

import exchanges.services
from livermore.celery import TryAgain, app
from livermore.logs import event
from symbols import renames, services, tier1

log = logging.getLogger(__name__)


@app.task(name="symbols.sync", base=TryAgain)
def sync(exchange: str | None = None) -> None:
    """Sync one exchange; without a name, enqueue one task for each exchange that streams now.

    Nothing contacts a venue before somebody has started it, so beat's run skips the idle ones.
    """
    if exchange is None:
        for slug in exchanges.services.streaming():
            sync.delay(slug)
        return
    rest = exchanges.services.rest(exchange, share=1)
    done = services.sync(exchange, rest)
    event(log, "symbols.synced", **asdict(done))
    hand_over(exchange, done.renamed)


@app.task(name="symbols.refresh_tier1", base=TryAgain)
def refresh_tier1(exchange: str | None = None) -> None:
    """Refresh Tier 1 of one exchange; without a name, of each that streams now (see `sync`)."""
    if exchange is None:
        for slug in exchanges.services.streaming():
            refresh_tier1.delay(slug)
        return
    rest = exchanges.services.rest(exchange, share=1)
    event(log, "symbols.tier1_refreshed", **asdict(tier1.refresh(exchange, rest)))
    settle(exchange)


def settle(exchange: str) -> None:
    """Ask for the windows of symbols that changed their tier to be moved; by name, as below."""
    app.send_task("candles.settle_windows", (exchange,), argsrepr=exchange)


def hand_over(exchange: str, renamed: Iterable[renames.Pair], *, is_certain: bool = False) -> None:
    """Ask for the history of renamed symbols to be handed over; without certainty only after proof.

    By name: this app knows nothing of candles.
    """
    for old, new in renamed:
        app.send_task(
            "candles.hand_over",
            (exchange, old, new),
            {"is_certain": is_certain},
            queue=f"backfill.{exchange}",
            argsrepr=f"{exchange} {old} → {new}",
        )
