"""Durable commands to stream hosts: sent once, run at most once, each with exactly one end.

A command is a hash (`exchanges.command`) and an entry of the exchange's stream. Every host reads the
stream in a consumer group of its own (`exchanges.inbox`), so each sees every command; whoever concerns
himself with it claims the hash by compare, and only the claimant runs it. A second entry with the same
id, a redelivery or a restart therefore runs nothing. Hosts leave errands (`exchanges.errands`) to workers.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Mapping

from exchanges import command as commands
from exchanges.command import Command, Result, Status, Verb
from exchanges.state import state_redis, unavailable
from livermore.core import keys
from livermore.core.errors import InvalidInput

__all__ = ["Command", "Result", "Status", "Verb", "await_result", "result", "send", "settle_overdue"]

STREAM_LENGTH = 1_000
ABANDONED_AFTER_MS = 60_000
ERRAND_ABANDONED_AFTER_MS = 900_000
"""A killed worker's task comes again after the broker's visibility time-out, and goes on."""
_ABANDONED = Result(Status.FAILED, "abandoned", "whoever claimed it did not end it")


@unavailable()
def send(
    exchange: str,
    verb: Verb,
    *,
    issued_by: str,
    wait_s: float,
    target: str = "",
    idempotency_key: str = "",
    symbol: str = "",
) -> str:
    """Send a command that may start within `wait_s`; returns its id.

    The same `idempotency_key` (per exchange and verb) gives the same id and is run once. Raises `InvalidInput` where
    it was used for other symbols.
    """
    now_ms = commands.now_ms()
    deadline_ms = now_ms + int(wait_s * 1000)
    command = Command(
        _identity(exchange, verb, idempotency_key), exchange, verb, target, issued_by, now_ms, deadline_ms,
        idempotency_key, symbol,
    )  # fmt: skip
    if not commands.create(command) and (before := commands.stored(command.id).get("symbol", symbol)) != symbol:
        raise InvalidInput(
            f"the key {idempotency_key!r} was used for {verb} of {before or 'all symbols'}; take another"
        )
    # Also when it existed: its first sender may have died before this line, and a second entry is harmless.
    state_redis().xadd(keys.control(exchange), {"id": command.id}, maxlen=STREAM_LENGTH, approximate=True)
    return command.id


@unavailable()
def result(command_id: str) -> Result:
    """How a command stands; past its deadline an unclaimed one expires. Raises `InvalidInput` for an unknown id."""
    found = commands.stored(command_id)
    if not found:
        raise InvalidInput(f"no command {command_id!r}; commands are kept for a day")
    if found["status"] == Status.PENDING and commands.is_late(found):
        commands.expire(command_id)
        found = commands.stored(command_id)
    return Result(
        Status(found["status"]),
        found.get("code", ""),
        found.get("message", ""),
        found.get("host", ""),
        json.loads(found.get("answer", "{}")),
    )


def await_result(command_id: str, timeout_s: float, on_state: Callable[[Result], None] | None = None) -> Result:
    """Wait for the end, or return how the command stands after `timeout_s`; `on_state` sees each change."""
    deadline = time.monotonic() + timeout_s
    before: Result | None = None
    while True:
        now = result(command_id)
        if now != before and on_state is not None:
            on_state(now)
        before = now
        if now.status.is_final or time.monotonic() >= deadline:
            return now
        time.sleep(0.1)


@unavailable()
def settle_overdue(exchange: str) -> int:
    """Give an end to commands that nobody will end: unclaimed past their deadline, or claimed by a dead host.

    Returns how many; looks at the newest thirty.
    """
    settled = 0
    for _, fields in state_redis().xrevrange(keys.control(exchange), count=30):
        command_id = fields[b"id"].decode()
        found = commands.stored(command_id)
        late_ms = commands.now_ms() - int(found.get("deadline_ms", commands.now_ms()))
        if found.get("status") == Status.PENDING and late_ms > 0:
            settled += commands.expire(command_id)
        elif found.get("status") == Status.ACKED and _is_abandoned(found):
            settled += commands.end(command_id, Status.ACKED, _ABANDONED)
    return settled


def _is_abandoned(found: Mapping[str, str]) -> bool:
    """Claimed, and not heard of for so long that its claimant must be dead."""
    heard_ms = max(int(found["deadline_ms"]), int(found.get("told_ms", 0)))
    patience_ms = ERRAND_ABANDONED_AFTER_MS if Verb(found["verb"]).is_errand else ABANDONED_AFTER_MS
    return commands.now_ms() - heard_ms > patience_ms


def _identity(exchange: str, verb: Verb, idempotency_key: str) -> str:
    if not idempotency_key:
        return secrets.token_hex(8)
    return hashlib.sha256(f"{exchange}|{verb}|{idempotency_key}".encode()).hexdigest()[:16]
