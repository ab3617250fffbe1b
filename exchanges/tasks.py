"""Celery tasks of exchanges, and what all tasks that carry out errands have in common."""

from __future__ import annotations

import logging
from typing import Any

from django.utils import timezone

import symbols.tasks
from exchanges import errands, metadata, services
from exchanges.errands import Errand
from exchanges.models import Exchange
from livermore.celery import TryAgain, app
from livermore.core.errors import StoreUnavailable
from livermore.logs import event

log = logging.getLogger(__name__)


@app.task(name="exchanges.check_metadata", base=TryAgain)
def check_metadata(exchange: str | None = None) -> None:
    """Compare an exchange's limits, symbols and the age of its geo rules with what its venue says.

    Without a name, of every exchange that is enabled the age alone, for which nobody is asked, and one task for
    each that streams now.
    """
    if exchange is None:
        for row in Exchange.objects.filter(enabled=True):
            metadata.check_geo(row, timezone.localdate())
        for slug in services.streaming():
            check_metadata.apply_async((slug,), queue=f"backfill.{slug}")
        return
    row = services.usable(exchange)
    metadata.check_geo(row, timezone.localdate())
    metadata.check_limits(row, services.rest(exchange, share=1))
    symbols.tasks.sync(exchange)


class ErrandTask(TryAgain):
    """A task whose first argument is the id of an errand, the second whose hands it is in ("" = this task's).

    What it raises in the end becomes the errand's end.
    """

    abstract = True

    def claim(self, command_id: str, runner: str) -> Errand | None:
        """See `exchanges.errands.claim`; a message that is delivered again has the same runner."""
        return errands.claim(command_id, runner or self._runner)

    def on_failure(self, exc: Exception, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """Celery calls this when no further try follows."""
        command_id, runner = args[0], args[1] if len(args) > 1 else ""
        try:
            if errand := self.claim(command_id, runner):
                errand.failed(exc)
        except StoreUnavailable as error:  # it ends as abandoned
            event(log, "errand.not_ended", logging.WARNING, id=command_id, error=error)

    @property
    def _runner(self) -> str:
        return f"task {self.request.id}"
