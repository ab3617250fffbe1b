"""What was set aside at an exchange: frames, trades and whole batches, each with its reason."""

from __future__ import annotations

from base64 import b64encode
from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Query, Router

from candles.models import QuarantinedBatch
from candles.services import quarantine
from livermore.web import markets
from livermore.web.observed import now_ms

router = Router(tags=["quality"])


@router.get("")
def list_quarantine(
    request: HttpRequest, exchange: str, limit: Annotated[int, Query(ge=1, le=quarantine.FRAMES_KEPT)] = 100
) -> dict[str, Any]:
    """The newest frames set aside at an exchange, and the newest batches that could not be taken.

    `frame_b64` is the raw frame, or its beginning where it is longer than 2,000 bytes (`size`).
    """
    slug = markets.exchange(exchange).slug
    rows = QuarantinedBatch.objects.filter(exchange=slug).defer("body").order_by("-set_aside_at")
    return {
        "now_ms": now_ms(),
        "frames": [_frame(frame) for frame in quarantine.frames(slug, limit)],
        "batches": [_batch(row) for row in rows[:limit]],
    }


def _frame(frame: quarantine.Frame) -> dict[str, Any]:
    return {
        "batch": frame.batch,
        "why": frame.why,
        "at_ms": frame.at_ms,
        "size": frame.size,
        "frame_b64": b64encode(frame.frame).decode(),
    }


def _batch(row: QuarantinedBatch) -> dict[str, Any]:
    return {
        "id": row.pk,
        "batch": f"{row.connection}:{row.number}",
        "frames": row.frames,
        "received_ms": row.received_ns // 1_000_000,
        "failures": row.failures,
        "error": row.error,
        "set_aside_ms": int(row.set_aside_at.timestamp() * 1000),
        "tried_ms": None if row.tried_at is None else int(row.tried_at.timestamp() * 1000),
        "taken_ms": None if row.taken_at is None else int(row.taken_at.timestamp() * 1000),
    }
