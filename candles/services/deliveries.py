"""How often a batch was tried: one that kills its workers, or fails again and again, is set aside."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from candles.services import ingest as ingesting
from candles.services import quarantine
from candles.services.ingest import Ingested
from exchanges.state import state_redis, unavailable
from livermore.core import keys
from livermore.core.errors import FrameRejected, Transient

DEATHS = 3
"""A batch that so many workers did not survive is tried no more."""


ROW_HEADER = "quarantined"
"""A message with it brings a batch of the quarantine again: its row."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """How a batch came: did the broker bring it before, was it retried as often as it may be, and which row of the
    quarantine does it come from."""

    is_repeated: bool = False
    failures: int = 0
    is_last: bool = False
    row: int | None = None

    @classmethod
    def of(cls, request: Any, tries: int) -> Delivery:
        """From a Celery request of a task that is retried so many times."""
        return cls(
            is_repeated=bool((request.delivery_info or {}).get("redelivered")),
            failures=request.retries,
            is_last=request.retries >= tries,
            row=(request.headers or {}).get(ROW_HEADER),
        )


FIRST = Delivery()


def ingest(body: dict[str, Any], delivery: Delivery = FIRST) -> Ingested:
    """`ingest.ingest`, and the end of it for a batch that cannot be taken: set aside, what it held is a gap.

    A poison batch takes its worker down without a word, so a repeated delivery is counted before it is worked on,
    and forgotten when that went well; a first one, which nearly all are, costs nothing. Raises `Transient` while
    another try may help, whatever it failed with, and `FrameRejected` for an unreadable body.
    """
    if delivery.is_repeated and (deaths := _count(body)) >= DEATHS:
        _forget(body)
        return _set_aside(body, f"{deaths} workers did not survive it", deaths)
    try:
        done = ingesting.ingest(body)
    except FrameRejected:
        raise
    except Exception as error:
        failures = delivery.failures + 1
        if delivery.is_last:
            return _set_aside(body, traceback.format_exc(), failures)
        if isinstance(error, Transient):
            raise
        raise Transient(f"batch {_id(body)} failed {failures} times: {type(error).__name__}: {error}") from error
    if delivery.is_repeated:
        _forget(body)
    if delivery.row is not None:
        quarantine.taken(delivery.row)
    return done


def _set_aside(body: dict[str, Any], error: str, failures: int) -> Ingested:
    batch = quarantine.outline(body)
    gaps = quarantine.set_aside(body, error, failures)
    return Ingested(batch.id, batch.exchange, sum(count for count, _ in batch.arrivals), gaps=gaps)


@unavailable()
def _count(body: dict[str, Any]) -> int:
    key = _key(body)
    pipe = state_redis().pipeline(transaction=False)
    pipe.incr(key)
    # Deaths are a visibility timeout apart.
    pipe.expire(key, 3600 + 2 * DEATHS * settings.VISIBILITY_TIMEOUT_S)
    return int(pipe.execute()[0])


@unavailable()
def _forget(body: dict[str, Any]) -> None:
    state_redis().delete(_key(body))


def _key(body: dict[str, Any]) -> str:
    return keys.deliveries(str(body.get("exchange")), _id(body))


def _id(body: dict[str, Any]) -> str:
    return f"{body.get('connection')}:{body.get('number')}"
