"""Celery tasks that keep the symbol tables up to date; each is one call of a service."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import asdict

from kombu.exceptions import OperationalError

import exchanges.services
from exchanges import control
from livermore.celery import TryAgain, app
from livermore.core.errors import StoreUnavailable
from livermore.logs import event
from symbols import positions, renames, services, tier1
from symbols.models import ExchangeSymbol

log = logging.getLogger(__name__)

NOTICED_WITHIN_S = 30
"""A host that was not told follows by itself within so long."""
POSITIONS_EXPIRE_S = 45
"""A task that waited longer is replaced by beat's next one."""


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


@app.task(name="symbols.refresh_positions")
def refresh_positions(account: int | None = None) -> None:
    """Read the account of that number; without one, each that can be read at the exchanges that stream now.

    Every account has a task of its own, so that one never waits for another; beat asks again soon enough.
    """
    if account is None:
        positions.end_due()
        for number in positions.readable(exchanges.services.streaming()):
            refresh_positions.apply_async((number,), expires=POSITIONS_EXPIRE_S)
        return
    done = positions.read(account)
    if done is not None:
        event(log, "symbols.positions_read", **asdict(done))


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


def begin(symbol: ExchangeSymbol, by: str) -> None:
    """Have a symbol that somebody just followed streamed and charted at once, where its exchange streams.

    What is idle begins with the exchange's start: nothing contacts a venue before. Where nobody can be told, the
    host finds the symbol by itself, as it does any change of Tier 1.
    """
    slug = symbol.exchange_id
    try:
        if slug not in exchanges.services.streaming():
            return
        control.send(slug, control.Verb.RELOAD, issued_by=by, wait_s=NOTICED_WITHIN_S)
        # Not on the exchange's own queue, where a start has put hundreds.
        app.send_task(
            "candles.load_history", (slug, symbol.name), {"is_awaited": True}, queue="default", retry=False,
            argsrepr=f"{slug} {symbol.name}",
        )  # fmt: skip
    except (StoreUnavailable, OperationalError, OSError) as error:
        event(log, "symbol.untold", logging.WARNING, exchange=slug, symbol=symbol.name, error=error)
