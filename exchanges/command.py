"""One durable command: its hash `command:{id}`, and the steps of its life, each a compare-and-set.

    pending ──claim──▶ acked ──▶ done | failed
       └──deadline──▶ expired       └── the claimant died: failed

Most are for a stream host; an errand is for workers (`exchanges.errands`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from exchanges.state import state_redis
from livermore.core import keys
from livermore.core.errors import InvalidInput

KEEP_MS = 24 * 3_600_000


class Verb(StrEnum):
    """What an exchange can be told: a stream host carries out the first six, workers the others."""

    START = "start"
    STOP = "stop"
    PAUSE = "pause"
    RESUME = "resume"
    RELOAD = "reload"
    ROLL = "roll"
    BACKFILL = "backfill"
    RECONCILE = "reconcile"
    REFRESH = "refresh"

    @property
    def is_errand(self) -> bool:
        """Do workers carry it out, and no stream host?"""
        return self in (Verb.BACKFILL, Verb.RECONCILE, Verb.REFRESH)

    @property
    def takes_symbols(self) -> bool:
        """May it be limited to some symbols?"""
        return self in (Verb.BACKFILL, Verb.RECONCILE)

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
    """One order. `target` is the only host that may run it ("" = any); times are ms UTC.

    `symbol` limits it to these symbols, with blanks between; "" = all that are streamed.
    """

    id: str
    exchange: str
    verb: Verb
    target: str
    issued_by: str
    issued_ms: int
    deadline_ms: int
    idempotency_key: str = ""
    symbol: str = ""
    entry: bytes = field(default=b"", repr=False, compare=False)  # where the reading host found it


@dataclass(frozen=True, slots=True)
class Result:
    """How a command stands. `code` is machine-readable ("ok", "geo", "held" …), `answer` is JSON.

    `host` is whoever claimed it: a stream host, a task, or a process that somebody started by hand.
    """

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
_TELL = """
if redis.call('HGET', KEYS[1], 'status') ~= 'acked' or redis.call('HGET', KEYS[1], 'host') ~= ARGV[2] then return 0 end
for i = 3, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIREAT', KEYS[1], ARGV[1])
return 1
"""
_END = """
if redis.call('HGET', KEYS[1], 'status') ~= ARGV[1] then return 0 end
for i = 2, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
return 1
"""


def create(command: Command) -> bool:
    """Store it as pending, for a day past its deadline; False when its id exists already."""
    fields = {
        "exchange": command.exchange,
        "verb": command.verb,
        "target": command.target,
        "issued_by": command.issued_by,
        "issued_ms": command.issued_ms,
        "deadline_ms": command.deadline_ms,
        "idempotency_key": command.idempotency_key,
        "symbol": command.symbol,
    }
    return _run(_CREATE, command.id, command.deadline_ms + KEEP_MS, *_flat(fields))


def claim(command_id: str, host: str) -> bool:
    """pending → acked, before the deadline; True for one host once."""
    return _run(_CLAIM, command_id, host, now_ms())


def tell(command_id: str, host: str, message: str, answer: Mapping[str, Any]) -> bool:
    """How far its claimant is, who still lives; False when it is not in his hands."""
    at_ms = now_ms()
    fields = {"message": message, "answer": json.dumps(answer), "told_ms": at_ms}
    return _run(_TELL, command_id, at_ms + KEEP_MS, host, *_flat(fields))


def end(command_id: str, before: Status, result: Result) -> bool:
    """From `before` to a final status; False when it stood otherwise."""
    fields = {
        "status": result.status,
        "code": result.code,
        "message": result.message,
        "answer": json.dumps(result.answer),
        "ended_ms": now_ms(),
    }
    return _run(_END, command_id, before, *_flat(fields))


def expire(command_id: str) -> bool:
    """pending → expired."""
    return end(command_id, Status.PENDING, Result(Status.EXPIRED, "timeout", "no host ran it before its deadline"))


def stored(command_id: str) -> dict[str, str]:
    """The fields of the hash; empty for an unknown id."""
    found = state_redis().hgetall(keys.command(command_id))
    return {name.decode(): value.decode() for name, value in found.items()}


def is_late(fields: Mapping[str, str]) -> bool:
    """Is its deadline over?"""
    return int(fields["deadline_ms"]) < now_ms()


def now_ms() -> int:
    """This process's clock."""
    return time.time_ns() // 1_000_000


def _run(script: str, command_id: str, *arguments: Any) -> bool:
    return bool(state_redis().eval(script, 1, keys.command(command_id), *arguments))


def _flat(fields: Mapping[str, Any]) -> list[Any]:
    return [part for pair in fields.items() for part in pair]
