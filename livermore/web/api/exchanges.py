"""Exchanges, what is observed of them, and the commands sent to them."""

from __future__ import annotations

from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Field, Query, Router, Schema, Status
from ninja.errors import HttpError

from exchanges import control
from exchanges.models import Exchange
from livermore import orders
from livermore.web import commands, markets
from livermore.web.api.errors import Forbidden
from livermore.web.observed import StreamState, now_ms, observe

router = Router(tags=["exchanges"])


@router.get("")
def list_exchanges(request: HttpRequest) -> dict[str, Any]:
    """Every exchange with the observed state of its stream."""
    rows = list(Exchange.objects.all())
    return {"now_ms": now_ms(), "exchanges": [_public(r, s) for r, s in zip(rows, observe(rows), strict=True)]}


@router.get("/{slug}")
def one_exchange(request: HttpRequest, slug: str) -> dict[str, Any]:
    """One exchange with the observed state of its stream."""
    row = markets.exchange(slug)
    return {"now_ms": now_ms(), **_public(row, observe([row])[0])}


def _public(row: Exchange, observed: StreamState) -> dict[str, Any]:
    return {
        "slug": row.slug,
        **{k: v for k, v in observed.public().items() if k != "exchange"},
        "enabled": row.enabled,
        "docs_url": row.docs_url,
        "timeframes": row.timeframes,
        "tier1_size": row.tier1_size,
        "taker_fee_bps": str(row.taker_fee_bps),
        "maker_fee_bps": str(row.maker_fee_bps),
    }


class Order(Schema):
    """What to tell an exchange: its stream host, or the workers."""

    verb: str = Field(
        json_schema_extra={"enum": [str(verb) for verb in control.Verb]},
        description="A stream host carries out the first six, workers the others.",
    )
    symbol: str = Field(
        "", description="For backfill and reconcile: symbols with blanks between; empty for all streamed."
    )
    target: str = Field("", description="The only stream host that may run it; empty for any.")
    wait_s: float | None = Field(
        None,
        ge=1,
        le=3600,
        description="It expires when nobody begins within so many seconds; 60 for a stream host, 900 for workers.",
    )
    idempotency_key: str = Field("", max_length=200, description="The same key and verb are one command, run once.")


@router.get("/{slug}/commands")
def list_commands(request: HttpRequest, slug: str, limit: Annotated[int, Query(ge=1, le=200)] = 50) -> dict[str, Any]:
    """The newest commands to this exchange and how each stands, newest first."""
    row = markets.exchange(slug)
    return {"now_ms": now_ms(), "commands": commands.newest(row.slug, limit)}


@router.post("/{slug}/commands", response={202: dict[str, Any]})
def send_command(request: HttpRequest, slug: str, order: Order) -> Status:
    """Send a durable command; it runs once, at a host that may or by workers. Staff only."""
    if not request.user.is_staff:
        raise Forbidden("only staff may send commands")
    row = markets.exchange(slug)
    verb = control.Verb.parse(order.verb)
    if not row.enabled:
        raise HttpError(409, f"{slug} is disabled; enable it in the admin first")
    command_id = orders.order(
        row.slug,
        verb,
        issued_by=request.user.get_username(),
        wait_s=order.wait_s,
        target=order.target,
        idempotency_key=order.idempotency_key,
        symbol=order.symbol,
    )
    return Status(202, commands.one(command_id))
