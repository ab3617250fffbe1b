"""The commands sent to an exchange's hosts, as the API and the pages show them."""

from __future__ import annotations

import json
from typing import Any

from exchanges import control
from exchanges.state import state_redis
from livermore.core import keys
from livermore.web.state import texts


def newest(exchange: str, limit: int) -> list[dict[str, Any]]:
    """The newest commands and how each stands, newest first; one that nobody ran in time has expired."""
    control.settle_overdue(exchange)
    entries = state_redis().xrevrange(keys.control(exchange), count=limit)
    # The same command may have been entered twice; it is one command.
    ids = dict.fromkeys(fields[b"id"].decode() for _, fields in entries)
    pipeline = state_redis().pipeline(transaction=False)
    for command_id in ids:
        pipeline.hgetall(keys.command(command_id))
    found = zip(ids, (texts(h) for h in pipeline.execute()), strict=True)
    return [_public(command_id, said) for command_id, said in found if said]


def one(command_id: str) -> dict[str, Any]:
    """A command that exists."""
    return _public(command_id, texts(state_redis().hgetall(keys.command(command_id))))


def _public(command_id: str, said: dict[str, str]) -> dict[str, Any]:
    return {
        "id": command_id,
        **{name: said.get(name, "") for name in ("exchange", "verb", "symbol", "target", "issued_by")},
        **{name: said.get(name, "") for name in ("idempotency_key", "status", "code", "message", "host")},
        **{name: _ms(said.get(name)) for name in ("issued_ms", "deadline_ms", "acked_ms", "ended_ms")},
        "answer": json.loads(said.get("answer") or "{}"),
    }


def _ms(text: str | None) -> int | None:
    return int(text) if text else None
