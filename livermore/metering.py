"""What Celery tells of tasks: counted, and the batch that a task comes from, bound to its lines and to what it sends.

Imported by every process; but for the sending it is heard in workers only.
"""

from __future__ import annotations

import time
from typing import Any

from celery import signals

from exchanges import tally
from livermore import logs

BATCH = "batch"
"""The header, and the field of log lines, that follow a batch from socket to candle."""

_began: dict[str, float] = {}


@signals.worker_ready.connect
def _begin(**_: Any) -> None:
    """A worker (solo or threads, so this very process) sends what it counts."""
    tally.keep_flushing()


@signals.worker_shutdown.connect
def _end(**_: Any) -> None:
    tally.stop_flushing()


@signals.task_prerun.connect
def _started(task_id: str, task: Any, **_: Any) -> None:
    _began[task_id] = time.perf_counter()
    logs.unbind()
    if batch := task.request.get(BATCH):
        logs.bind(batch=batch)


@signals.task_postrun.connect
def _ended(task_id: str, task: Any, **_: Any) -> None:
    logs.unbind()
    began = _began.pop(task_id, None)
    if began is not None:
        tally.observe(tally.TASKS, task.name, value=time.perf_counter() - began)


@signals.before_task_publish.connect
def _sent(headers: dict[str, Any], **_: Any) -> None:
    if batch := logs.bound().get(BATCH):
        headers[BATCH] = batch


@signals.task_failure.connect
def _failed(sender: Any, **_: Any) -> None:
    tally.add(tally.FAILURES, sender.name)


@signals.task_retry.connect
def _retried(sender: Any, **_: Any) -> None:
    tally.add(tally.RETRIES, sender.name)
