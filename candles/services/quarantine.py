"""What was set aside: frames and trades that nobody believes, and batches that no worker survives."""

from __future__ import annotations

import json
import logging
import time
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Any

import msgspec
from django.db import DatabaseError
from django.utils import timezone

from candles.models import QuarantinedBatch
from candles.services import arrivals
from exchanges import wire
from exchanges.crashes import redacted
from exchanges.state import state_redis, unavailable
from livermore.core import keys
from livermore.core.errors import FrameRejected, StoreUnavailable
from livermore.core.frame import FrameBatch
from livermore.core.gap import Gap
from livermore.logs import event

log = logging.getLogger(__name__)

FRAMES_KEPT = 1_000
FRAMES_KEPT_S = 7 * 86_400
SAMPLE_BYTES = 2_000
BATCHES_KEPT = 100
"""Of each exchange; a batch is at most half a megabyte of frames."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame that was set aside: its batch, why, when (ms UTC), its first bytes, and how long it was."""

    exchange: str
    batch: str
    why: str
    at_ms: int
    frame: bytes
    size: int


def stage(pipe: Any, exchange: str, batch: str, why: str, frame: bytes) -> None:
    """Add to `pipe` that a frame, or a trade in it, was set aside."""
    sample = {"batch": batch, "why": why, "at_ms": time.time_ns() // 1_000_000, "size": len(frame)}
    sample["frame_b64"] = b64encode(frame[:SAMPLE_BYTES]).decode()
    key = keys.quarantine(exchange)
    pipe.lpush(key, json.dumps(sample))
    pipe.ltrim(key, 0, FRAMES_KEPT - 1)
    pipe.expire(key, FRAMES_KEPT_S)


@unavailable()
def frames(exchange: str, limit: int) -> list[Frame]:
    """The newest frames set aside at an exchange, newest first."""
    kept = state_redis().lrange(keys.quarantine(exchange), 0, limit - 1)
    return [_frame(exchange, json.loads(text)) for text in kept]


def _frame(exchange: str, sample: dict[str, Any]) -> Frame:
    held = b64decode(sample["frame_b64"])
    return Frame(exchange, sample["batch"], sample["why"], sample["at_ms"], held, sample.get("size", len(held)))


def set_aside(body: dict[str, Any], error: str, failures: int) -> list[Gap]:
    """Keep a batch that cannot be taken; returns what it held as a gap, so that its candles are mended.

    Its frames are not looked at: they are what kills. Raises `FrameRejected` where the body is no batch, and
    `StoreUnavailable` when the database does not answer.
    """
    batch = outline(body)
    kept = {
        "received_ns": batch.received_ns,
        "frames": sum(count for count, _ in batch.arrivals),
        "body": msgspec.msgpack.encode(body),
        "error": redacted(error),
        "failures": failures,
        "set_aside_at": timezone.now(),
        "taken_at": None,
    }
    try:
        QuarantinedBatch.objects.update_or_create(
            exchange=batch.exchange, connection=batch.connection, number=batch.number, defaults=kept
        )
        _trim(batch.exchange)
    except DatabaseError as away:
        raise StoreUnavailable(f"the database does not answer: {away}") from away
    event(
        log, "batch.quarantined", logging.ERROR, batch=batch.id, exchange=batch.exchange, frames=kept["frames"],
        failures=failures, why=redacted(error).strip().rpartition("\n")[2],
    )  # fmt: skip
    return [arrivals.refused(batch)] if batch.arrivals else []


def outline(body: dict[str, Any]) -> FrameBatch:
    """The batch without its frames. Raises `FrameRejected` where the body is no batch."""
    try:
        arrived = tuple((int(count), int(ns)) for count, ns in body["arrivals"])
        place = (str(body["exchange"]), str(body["connection"]), int(body["number"]), int(body["epoch"]))
    except (KeyError, TypeError, ValueError) as error:
        raise FrameRejected(f"damaged batch: {error}") from None
    return FrameBatch(*place, frames=(), arrivals=arrived)


def taken(row: int) -> None:
    """A batch that had been set aside was tried again, with success."""
    QuarantinedBatch.objects.filter(pk=row).update(taken_at=timezone.now())
    event(log, "batch.released", row=row)


def body_of(row: QuarantinedBatch) -> dict[str, Any]:
    """The message body as it came."""
    body: dict[str, Any] = msgspec.msgpack.decode(bytes(row.body))
    return body


def frames_of(row: QuarantinedBatch) -> tuple[bytes, ...]:
    """Its raw frames; none where they cannot be unpacked."""
    try:
        return wire.unpack(body_of(row)).frames
    except (FrameRejected, msgspec.DecodeError):
        return ()


def _trim(exchange: str) -> None:
    rows = QuarantinedBatch.objects.filter(exchange=exchange).order_by("-set_aside_at")
    surplus = list(rows.values_list("pk", flat=True)[BATCHES_KEPT : 2 * BATCHES_KEPT])
    if surplus:
        QuarantinedBatch.objects.filter(pk__in=surplus).delete()
