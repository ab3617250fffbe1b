"""What Celery tells of tasks, counted: run time, failures, retries. Imported by every process, heard in workers."""

from __future__ import annotations

import time
from typing import Any

from celery import signals

from exchanges import tally

_began: dict[str, float] = {}


@signals.worker_ready.connect
def _begin(**_: Any) -> None:
    """A worker (solo or threads, so this very process) sends what it counts."""
    tally.keep_flushing()


@signals.worker_shutdown.connect
def _end(**_: Any) -> None:
    tally.stop_flushing()


@signals.task_prerun.connect
def _started(task_id: str, **_: Any) -> None:
    _began[task_id] = time.perf_counter()


@signals.task_postrun.connect
def _ended(task_id: str, task: Any, **_: Any) -> None:
    began = _began.pop(task_id, None)
    if began is not None:
        tally.observe(tally.TASKS, task.name, value=time.perf_counter() - began)


@signals.task_failure.connect
def _failed(sender: Any, **_: Any) -> None:
    tally.add(tally.FAILURES, sender.name)


@signals.task_retry.connect
def _retried(sender: Any, **_: Any) -> None:
    tally.add(tally.RETRIES, sender.name)
