"""The caller's rules, the channels where he is told, and what is owed to them."""

from __future__ import annotations

from datetime import time
from decimal import Decimal
from typing import Annotated, Any

from django.core.exceptions import ValidationError
from django.http import HttpRequest
from ninja import Field, Query, Router, Schema, Status
from ninja.errors import HttpError

from candles.notify import channels
from candles.notify.models import CAP_PER_HOUR, Channel, Delivery, Rule
from candles.notify.preview import DAYS, preview
from livermore.core.errors import InvalidInput
from livermore.web.api.errors import Forbidden
from livermore.web.observed import now_ms

router = Router(tags=["rules"])
MOST_RULES = 50
_FIELDS = (
    "name", "is_enabled", "leaders", "kinds", "bases", "excluded", "direction", "min_net_bps", "min_z", "fee_bps",
    "requires_regime", "quiet_from", "quiet_to", "zone", "cap_per_hour",
)  # fmt: skip


class NewChannel(Schema):
    """Where to be told; the address is not shown again."""

    name: str = Field(min_length=1, max_length=64)
    kind: str = Field(description="webhook or chat.")
    address: str = Field(min_length=8, max_length=500, description="https://…, or discord:// slack:// tgram:// mailto://")


class RuleBody(Schema):
    """What to hear of; an empty list means any. Nets and fees are bps, quiet hours by the clock of `zone`.

    Alerts are asked for by their kind, `macdv`; any kind means any signal.
    """

    name: str = Field(min_length=1, max_length=64)
    is_enabled: bool = True
    home: str = Field("", description="The exchange where you buy.")
    leaders: list[str] = []
    kinds: list[str] = []
    bases: list[str] = []
    excluded: list[str] = []
    direction: str = Field("", description="up, down, or empty for both.")
    min_net_bps: Decimal | None = None
    min_z: Decimal | None = None
    fee_bps: Decimal | None = None
    requires_regime: bool = False
    quiet_from: time | None = None
    quiet_to: time | None = None
    zone: str = Field("UTC", max_length=64)
    cap_per_hour: int = Field(CAP_PER_HOUR, ge=0, le=1000)
    channels: list[int] = []


@router.get("/channels")
def list_channels(request: HttpRequest) -> dict[str, Any]:
    """The caller's own, without their addresses."""
    return {"now_ms": now_ms(), "channels": [_channel(c) for c in Channel.objects.filter(user=request.user)]}


@router.post("/channels", response={201: dict[str, Any]})
def add_channel(request: HttpRequest, body: NewChannel) -> Status:
    """Add one; the answer holds, this once, the secret with which its webhooks are signed."""
    _may(request)
    channel, secret = channels.create(request.user, body.name, body.kind, body.address)
    shown = {"secret": secret} if channel.kind == Channel.Kind.WEBHOOK else {}
    return Status(201, _channel(channel) | shown)


@router.post("/channels/{channel_id}/test")
def test_channel(request: HttpRequest, channel_id: int) -> dict[str, Any]:
    """Send a test message there and tell whether it arrived."""
    _may(request)
    why = channels.test(_own(request, Channel, channel_id))
    return {"arrived": not why, "why": why}


@router.delete("/channels/{channel_id}")
def remove_channel(request: HttpRequest, channel_id: int) -> dict[str, Any]:
    """Nothing is sent there any more, not even what is owed."""
    _may(request)
    _own(request, Channel, channel_id).delete()
    return {"id": channel_id}


@router.get("/rules")
def list_rules(request: HttpRequest) -> dict[str, Any]:
    """The caller's own."""
    rows = Rule.objects.filter(user=request.user).prefetch_related("channels")
    return {"now_ms": now_ms(), "rules": [_rule(row) for row in rows]}


@router.post("/rules", response={201: dict[str, Any]})
def add_rule(request: HttpRequest, body: RuleBody) -> Status:
    """Add one."""
    _may(request)
    if Rule.objects.filter(user=request.user).count() >= MOST_RULES:
        raise InvalidInput(f"a user has {MOST_RULES} rules at most; delete one first")
    return Status(201, _rule(_store(request, Rule(user=request.user), body)))


@router.post("/rules/preview")
def preview_rule(
    request: HttpRequest, body: RuleBody, days: Annotated[int, Query(ge=1, le=30)] = DAYS
) -> dict[str, Any]:
    """What such a rule would have told of the last days, what became of it, and why it wants the rest not."""
    rule = _filled(Rule(user=request.user), body)
    now = now_ms()
    found = preview(rule.wish(), now, days)
    ended = sum(found.outcomes.values())
    return {
        "now_ms": now,
        "since_ms": found.since_ms,
        "wanted": found.wanted,
        "outcomes": dict(found.outcomes),
        "converged_rate": round(found.outcomes["converged"] / ended, 3) if ended else None,
        "median_s": found.median_s,
        "refused": dict(found.refused),
    }


@router.put("/rules/{rule_id}")
def change_rule(request: HttpRequest, rule_id: int, body: RuleBody) -> dict[str, Any]:
    """Replace one as a whole."""
    _may(request)
    return _rule(_store(request, _own(request, Rule, rule_id), body))


@router.delete("/rules/{rule_id}")
def remove_rule(request: HttpRequest, rule_id: int) -> dict[str, Any]:
    """Forget one; what is owed by it is still sent."""
    _may(request)
    _own(request, Rule, rule_id).delete()
    return {"id": rule_id}


@router.get("/deliveries")
def list_deliveries(
    request: HttpRequest,
    state: Annotated[str, Query(pattern="^(|owed|sent|dead)$")] = "",
    before: int | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> dict[str, Any]:
    """The caller's messages, the newest first; for the next page give the last `id` as `before`."""
    rows = Delivery.objects.filter(channel__user=request.user).select_related("channel", "rule")
    if state:
        rows = rows.filter(state=state)
    if before is not None:
        rows = rows.filter(pk__lt=before)
    return {"now_ms": now_ms(), "deliveries": [_delivery(row) for row in rows[:limit]]}


def _may(request: HttpRequest) -> None:
    if not (request.user.is_staff or request.user.has_perm("notify.change_rule")):
        raise Forbidden("only staff and users who may change rules change them; ask an operator")


def _own(request: HttpRequest, model: Any, pk: int) -> Any:
    row = model.objects.filter(user=request.user, pk=pk).first()
    if row is None:
        raise HttpError(404, f"you have no {model._meta.verbose_name} {pk}")
    return row


def _store(request: HttpRequest, rule: Rule, body: RuleBody) -> Rule:
    own = list(Channel.objects.filter(user=request.user, pk__in=body.channels))
    if len(own) < len(set(body.channels)):
        raise InvalidInput("channels: name your own by their ids; see /api/v1/channels")
    _filled(rule, body).save()
    rule.channels.set(own)
    return rule


def _filled(rule: Rule, body: RuleBody) -> Rule:
    """With what was asked for; raises `InvalidInput` that names each field which cannot be."""
    for name in _FIELDS:
        setattr(rule, name, getattr(body, name))
    rule.home_id = body.home or None
    try:
        rule.full_clean()
    except ValidationError as error:
        said = "; ".join(f"{name}: {' '.join(texts)}" for name, texts in error.message_dict.items())
        raise InvalidInput(said) from None
    return rule


def _rule(row: Rule) -> dict[str, Any]:
    fields = {name: getattr(row, name) for name in _FIELDS}
    texts = {name: str(value) if value is not None else None for name, value in fields.items() if name.endswith("_bps")}
    texts["min_z"] = None if row.min_z is None else str(row.min_z)
    return {
        "id": row.pk,
        "home": row.home_id or "",
        **fields,
        **texts,
        "channels": sorted(channel.pk for channel in row.channels.all()),
    }


def _channel(row: Channel) -> dict[str, Any]:
    return {
        "id": row.pk,
        "name": row.name,
        "kind": row.kind,
        "is_enabled": row.is_enabled,
        "last_error": row.last_error,
        "last_sent_ms": _ms(row.last_sent_at),
    }


def _delivery(row: Delivery) -> dict[str, Any]:
    return {
        "id": row.pk,
        "channel": row.channel.name,
        "rule": row.rule.name if row.rule else None,
        "event_id": row.event_id,
        "phase": row.phase,
        "state": row.state,
        "is_digest": row.is_digest,
        "tries": row.tries,
        "created_ms": _ms(row.created_at),
        "due_ms": _ms(row.due_at),
        "sent_ms": _ms(row.sent_at),
        "last_error": row.last_error,
    }


def _ms(at: Any) -> int | None:
    return None if at is None else int(at.timestamp() * 1000)
