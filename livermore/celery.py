"""The Celery application, whose settings are Django's with the prefix CELERY_, and how its tasks try again."""

from __future__ import annotations

import logging
import os
import resource
import time
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from celery import Celery, Task
from celery.signals import before_task_publish, task_postrun
from celery.worker import state
from django.conf import settings

from livermore.core.errors import RateLimited, Transient
from livermore.logs import event

log = logging.getLogger(__name__)

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "livermore.settings")

PUBLISHED = "published_ms"
"""Header of every message: when (ms UTC) it was put on its queue."""
MEMORY_ASKED_EVERY = 100
_ran = count(1)
_STATM = Path("/proc/self/statm")
TRIES = 5
WAITS = 20
LONGEST_WAIT_S = 55
"""Below the countdown that `livermore.E003` reckons with; a longer ban is waited for in several steps."""


class TryAgain(Task):  # type: ignore[misc]
    """A task that is tried again after passing trouble: `@app.task(name=…, base=TryAgain)`.

    Where a venue's budget says from when it may be asked, that is the time, `WAITS` times at most; other
    trouble is met with growing, jittered pauses, `TRIES` times, and waiting does not use these up.
    """

    abstract = True
    autoretry_for = (Transient,)
    retry_backoff = 1
    retry_backoff_max = 30
    retry_jitter = True
    max_retries = TRIES

    def retry(self, *args: Any, exc: Exception | None = None, **options: Any) -> Any:
        """Celery calls this for what `autoretry_for` names."""
        waits = (self.request.headers or {}).get("waits", 0)
        if isinstance(exc, RateLimited) and waits < WAITS:
            waits += 1
            wait_s = exc.until_ms / 1000 - time.time()
            options |= {"countdown": min(max(wait_s, 0.0), LONGEST_WAIT_S), "headers": {"waits": waits}}
        return super().retry(*args, exc=exc, **options | {"max_retries": TRIES + waits})


app = Celery("livermore")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@before_task_publish.connect
def _stamp(headers: dict[str, Any], **_: Any) -> None:
    headers[PUBLISHED] = time.time_ns() // 1_000_000


@task_postrun.connect
def _end_when_large(**_: Any) -> None:
    """Have the worker end, as after SIGTERM, when it has grown too large: a solo worker has no children to replace."""
    if next(_ran) % MEMORY_ASKED_EVERY == 0 and 0 < settings.WORKER_MAX_MEMORY_MB < (mb := _memory_mb()):
        event(log, "worker.too_large", logging.WARNING, mb=mb, most=settings.WORKER_MAX_MEMORY_MB)
        state.should_stop = 0


def _memory_mb() -> int:
    """What this process holds; 0 where the system does not tell."""
    with suppress(OSError):
        return int(_STATM.read_text().split()[1]) * resource.getpagesize() // 1024**2
    return 0
