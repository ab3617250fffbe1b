"""The tasks that carry out `backfill` and `reconcile`: one symbol in each, then the next one's task."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import exchanges.services
from candles.services import backfill, reconcile
from candles.tasks import compute_indicators, repair_gap
from exchanges.errands import Errand
from exchanges.models import Exchange
from exchanges.tasks import ErrandTask
from livermore.celery import app
from livermore.core.candle import Timeframe
from livermore.core.errors import InvalidInput, ProtocolError
from symbols.choosing import ALL, choose

RECONCILED_MS = 24 * 3_600_000
"""As far back as `reconcile` looks: older candles are not compared by themselves either."""

Series = tuple[str, str, str]


@dataclass(slots=True)
class Progress:
    """What an errand has done: how many of how many symbols, counts by name, and whom the venue does not serve."""

    symbols: int = 0
    of: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    def add(self, **counts: int) -> None:
        """One more step's counts."""
        for name, count in counts.items():
            self.counts[name] = self.counts.get(name, 0) + count

    def message(self) -> str:
        """In words."""
        counted = "".join(f", {count:,} {name.replace('_', ' ')}" for name, count in self.counts.items())
        refused = f"; not served: {'; '.join(self.refused)}" if self.refused else ""
        return f"{self.symbols:,} of {self.of:,} symbols{counted}{refused}"

    def answer(self) -> dict[str, Any]:
        """As JSON."""
        return {"symbols": self.symbols, "of": self.of, **self.counts, "refused": self.refused}


Work = Callable[[Errand, str, Progress], None]


@app.task(name="candles.run_backfill", bind=True, base=ErrandTask)
def run_backfill(self: ErrandTask, command_id: str, runner: str = "", *step: Any) -> None:
    """Fetch the history that the table lacks of the hot window."""
    _carry_out(self, _backfill, command_id, runner, step)


@app.task(name="candles.run_reconcile", bind=True, base=ErrandTask)
def run_reconcile(self: ErrandTask, command_id: str, runner: str = "", *step: Any) -> None:
    """Compare the last day's candles with the venue's own, and have mended what differs."""
    _carry_out(self, _reconcile, command_id, runner, step)


def _carry_out(task: ErrandTask, work: Work, command_id: str, runner: str, step: tuple[Any, ...]) -> None:
    """One symbol; `step` is what the one before left: the symbols to do, and what was done."""
    errand = task.claim(command_id, runner)
    if errand is None:
        return
    if step:
        todo, progress = list(step[0]), Progress(**step[1])
    else:
        todo = [row.name for row in choose(errand.exchange, errand.symbol.split() or [ALL])]
        progress = Progress(of=len(todo))
    exchanges.services.budget(errand.exchange).spend(0)  # a ban is waited for between tasks, not in one
    try:
        work(errand, todo[0], progress)
    except (ProtocolError, InvalidInput) as error:
        progress.refused.append(f"{todo[0]}: {error}")
    progress.symbols += 1
    if len(todo) == 1:
        _end(errand, progress)
    elif errand.tell(progress.message(), **progress.answer()):
        left = {"symbols": progress.symbols, "of": progress.of, "counts": progress.counts, "refused": progress.refused}
        task.apply_async(
            (command_id, errand.runner, todo[1:], left),
            queue=f"backfill.{errand.exchange}",
            argsrepr=f"{errand.exchange} {todo[1]} · {len(todo) - 1} left",
        )


def _end(errand: Errand, progress: Progress) -> None:
    if progress.refused and not any(progress.counts.values()):
        errand.failed(ValueError(progress.message()), "refused")
    else:
        errand.done(progress.message(), **progress.answer())


def _backfill(errand: Errand, symbol: str, progress: Progress) -> None:
    timeframes = [Timeframe(t) for t in Exchange.objects.get(pk=errand.exchange).timeframes]
    plan = backfill.plan(errand.exchange, choose(errand.exchange, [symbol]), timeframes)
    work = backfill.Backfill(plan)
    try:
        if plan.calls:
            work.run()
    finally:
        _enqueue_indicators(errand.exchange, work.changed)
    progress.add(bars=work.bars, calls=work.calls)
    progress.refused += work.refused


def _reconcile(errand: Errand, symbol: str, progress: Progress) -> None:
    now_ms = time.time_ns() // 1_000_000
    done = reconcile.reconcile(errand.exchange, symbol, (now_ms - RECONCILED_MS, now_ms))
    for needed in done.repairs:
        repair_gap.apply_async(
            (needed.exchange, needed.symbol, needed.from_ms, needed.to_ms, needed.ready_ms, needed.done_ms),
            queue=f"backfill.{needed.exchange}",
        )
    _enqueue_indicators(errand.exchange, {(c.exchange, c.symbol, str(c.timeframe)) for c in done.changed})
    progress.add(compared=done.checked, equal=done.equal, being_repaired=len(done.repairs))


def _enqueue_indicators(exchange: str, series: Iterable[Series]) -> None:
    if found := sorted(series):
        compute_indicators.apply_async((found,), argsrepr=f"{exchange} · {len(found)} series")
