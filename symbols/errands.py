"""The task that carries out `refresh`: what beat does for the symbols of an exchange, on demand."""

from __future__ import annotations

import exchanges.services
from exchanges.tasks import ErrandTask
from livermore.celery import app
from symbols import services, tier1
from symbols.tasks import hand_over, settle


@app.task(name="symbols.run_refresh", bind=True, base=ErrandTask)
def run_refresh(self: ErrandTask, command_id: str, runner: str = "") -> None:
    """Sync an exchange's symbols, then rank them."""
    errand = self.claim(command_id, runner)
    if errand is None:
        return
    rest = exchanges.services.rest(errand.exchange, share=1)
    listed = services.sync(errand.exchange, rest)
    hand_over(errand.exchange, listed.renamed)
    errand.tell(f"{listed.listed} symbols listed")
    ranked = tier1.refresh(errand.exchange, rest)
    settle(errand.exchange)
    errand.done(
        f"{listed.listed} listed, {listed.created} new, {listed.delisted} delisted; {ranked.tier1} in Tier 1, "
        f"{len(ranked.entered)} entered, {len(ranked.left)} left",
        listed=listed.listed, created=listed.created, changed=listed.changed, delisted=listed.delisted,
        tier1=ranked.tier1, entered=ranked.entered, left=ranked.left,
    )  # fmt: skip
