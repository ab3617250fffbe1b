"""Durable commands to stream hosts: sent once, run at most once, each with exactly one end.

A command is a hash (`command:{id}`) with its status and an entry of the exchange's stream. Every host
reads the stream in a consumer group of its own, so each sees every command; whoever concerns himself
with it claims the hash by compare, and only the claimant runs it. A second entry with the same id, a
redelivery or a restart therefore runs nothing.

    pending ──claim──▶ acked ──▶ done | failed
       └──deadline──▶ expired       └── the claimant died: failed
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from redis.exceptions import ResponseError

from exchanges.state import state_redis, unavailable
from livermore.core import keys
from livermore.core.errors import InvalidInput

STREAM_LENGTH = 1_000
KEEP_MS = 24 * 3_600_000
ABANDONED_AFTER_MS = 60_000
_CONSUMER = "host"


class Verb(StrEnum):
    """What a host can be told."""

    START = "start"
    STOP = "stop"
    PAUSE = "pause"
    RESUME = "resume"
    RELOAD = "reload"
    ROLL = "roll"

    @classmethod
    def parse(cls, text: str) -> Verb:
        """Raises `InvalidInput` that lists the verbs."""
        try:
            return cls(text)
        except ValueError:
            raise InvalidInput(f"{text!r} is no command; accepted: {' '.join(cls)}") from None


class Status(StrEnum):
    """How far a command is; the last three are final."""

    PENDING = "pending"
    ACKED = "acked"
    DONE = "done"
    FAILED = "failed"
    EXPIRED = "expired"

    @property
    def is_final(self) -> bool:
        """No other status follows."""
        return self in (Status.DONE, Status.FAILED, Status.EXPIRED)


@dataclass(frozen=True, slots=True)
class Command:
    """One order. `target` is the only host that may run it ("" = any); times are ms UTC."""

    id: str
    exchange: str
    verb: Verb
    target: str
    issued_by: str
    issued_ms: int
    deadline_ms: int
    entry: bytes = field(default=b"", repr=False, compare=False)  # where the reading host found it


@dataclass(frozen=True, slots=True)
class Result:
    """How a command stands. `code` is machine-readable ("ok", "geo", "held" …), `answer` is JSON."""

    status: Status
    code: str = ""
    message: str = ""
    host: str = ""
    answer: Mapping[str, Any] = field(default_factory=dict)


_CREATE = """
if redis.call('HSETNX', KEYS[1], 'status', 'pending') == 0 then return 0 end
for i = 2, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIREAT', KEYS[1], ARGV[1])
return 1
"""
_CLAIM = """
if redis.call('HGET', KEYS[1], 'status') ~= 'pending' then return 0 end
if tonumber(redis.call('HGET', KEYS[1], 'deadline_ms')) < tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], 'status', 'acked', 'host', ARGV[1], 'acked_ms', ARGV[2])
return 1
"""
_MOVE = """
if redis.call('HGET', KEYS[1], 'status') ~= ARGV[1] then return 0 end
for i = 2, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
return 1
"""


@unavailable()
def send(
    exchange: str, verb: Verb, *, issued_by: str, wait_s: float, target: str = "", idempotency_key: str = ""
) -> str:
    """Send a command that may start within `wait_s`; returns its id.

    The same `idempotency_key` (per exchange and verb) gives the same id and is run once.
    """
    now_ms = _now_ms()
    deadline_ms = now_ms + int(wait_s * 1000)
    command = Command(
        _identity(exchange, verb, idempotency_key), exchange, verb, target, issued_by, now_ms, deadline_ms
    )
    fields = [part for pair in _fields(command).items() for part in pair]
    state_redis().eval(_CREATE, 1, keys.command(command.id), deadline_ms + KEEP_MS, *fields)
    # Also when it existed: its first sender may have died before this line, and a second entry is harmless.
    state_redis().xadd(keys.control(exchange), {"id": command.id}, maxlen=STREAM_LENGTH, approximate=True)
    return command.id


@unavailable()
def result(command_id: str) -> Result:
    """How a command stands; past its deadline an unclaimed one expires. Raises `InvalidInput` for an unknown id."""
    found = _hash(command_id)
    if not found:
        raise InvalidInput(f"no command {command_id!r}; commands are kept for a day")
    if found["status"] == Status.PENDING and int(found["deadline_ms"]) < _now_ms():
        _expire(command_id)
        found = _hash(command_id)
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


class Inbox:
    """A host's own reader of one exchange's commands, in the order sent.

    The host's name must be its alone. What an earlier process of that name had claimed and not ended
    is failed when reading begins; what it had only received is read again.
    """

    def __init__(self, exchange: str, host: str) -> None:
        self.exchange = exchange
        self._host = host
        self._key = keys.control(exchange)
        self._group = f"host:{host}"
        self._position = "0"

    @unavailable()
    def read(self, block_ms: int | None = None) -> list[Command]:
        """Commands that may concern this host and are not ended; waits at most `block_ms` for one."""
        try:
            entries = self._entries(block_ms)
        except ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                raise
            # First reading ever, or Redis lost its memory.
            state_redis().xgroup_create(self._key, self._group, id="0", mkstream=True)
            self._position = "0"
            return []
        found = [self._command(entry, (fields or {}).get(b"id", b"").decode()) for entry, fields in entries]
        return [command for command in found if command is not None]

    @unavailable()
    def claim(self, command: Command) -> bool:
        """May this host run it? True for one host once."""
        is_ours = bool(state_redis().eval(_CLAIM, 1, keys.command(command.id), self._host, _now_ms()))
        if not is_ours:
            self.leave(command)
        return is_ours

    @unavailable()
    def leave(self, command: Command) -> None:
        """Leave it to other hosts."""
        state_redis().xack(self._key, self._group, command.entry)

    @unavailable()
    def finish(self, command: Command, status: Status, code: str, message: str = "", **answer: Any) -> bool:
        """End a claimed command; False when it had an end."""
        is_ended = _move(command.id, Status.ACKED, status, code, message, answer)
        self.leave(command)
        return is_ended

    def _entries(self, block_ms: int | None) -> list[Any]:
        answer = state_redis().xreadgroup(
            self._group, _CONSUMER, {self._key: self._position}, count=16, block=block_ms
        )
        entries = list(answer[0][1]) if answer else []
        if self._position != ">":
            # First what an earlier process had received without ending it, then what is new.
            self._position = entries[-1][0] if entries else ">"
        return entries

    def _command(self, entry: bytes, command_id: str) -> Command | None:
        found = _hash(command_id)
        status = found.get("status")
        if status == Status.PENDING and int(found["deadline_ms"]) < _now_ms():
            _expire(command_id)
        elif status == Status.PENDING and found["target"] in ("", self._host):
            return _read(command_id, found, entry)
        elif status == Status.ACKED and found["host"] == self._host and self._position != ">":
            _move(command_id, Status.ACKED, Status.FAILED, "restarted", "its host ended before the command did", {})
        state_redis().xack(self._key, self._group, entry)
        return None


@unavailable()
def settle_overdue(exchange: str) -> int:
    """Give an end to commands that nobody will end: unclaimed past their deadline, or claimed by a dead host.

    Returns how many; looks at the newest thirty.
    """
    settled = 0
    for _, fields in state_redis().xrevrange(keys.control(exchange), count=30):
        command_id = fields[b"id"].decode()
        found = _hash(command_id)
        late_ms = _now_ms() - int(found.get("deadline_ms", _now_ms()))
        if found.get("status") == Status.PENDING and late_ms > 0:
            settled += _expire(command_id)
        elif found.get("status") == Status.ACKED and late_ms > ABANDONED_AFTER_MS:
            settled += _move(command_id, Status.ACKED, Status.FAILED, "abandoned", "its host did not end it", {})
    return settled


def _expire(command_id: str) -> bool:
    return _move(command_id, Status.PENDING, Status.EXPIRED, "timeout", "no host ran it before its deadline", {})


def _move(
    command_id: str, before: Status, after: Status, code: str, message: str, answer: Mapping[str, Any]
) -> bool:
    fields = {"status": after, "code": code, "message": message, "answer": json.dumps(answer), "ended_ms": _now_ms()}
    flat = [part for pair in fields.items() for part in pair]
    return bool(state_redis().eval(_MOVE, 1, keys.command(command_id), before, *flat))


def _identity(exchange: str, verb: Verb, idempotency_key: str) -> str:
    if not idempotency_key:
        return secrets.token_hex(8)
    return hashlib.sha256(f"{exchange}|{verb}|{idempotency_key}".encode()).hexdigest()[:16]


def _fields(command: Command) -> dict[str, Any]:
    return {
        "exchange": command.exchange,
        "verb": command.verb,
        "target": command.target,
        "issued_by": command.issued_by,
        "issued_ms": command.issued_ms,
        "deadline_ms": command.deadline_ms,
    }


def _read(command_id: str, found: Mapping[str, str], entry: bytes) -> Command:
    return Command(
        command_id,
        found["exchange"],
        Verb(found["verb"]),
        found["target"],
        found["issued_by"],
        int(found["issued_ms"]),
        int(found["deadline_ms"]),
        entry,
    )


def _hash(command_id: str) -> dict[str, str]:
    found = state_redis().hgetall(keys.command(command_id))
    return {name.decode(): value.decode() for name, value in found.items()}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
