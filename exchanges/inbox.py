"""A host's own reader of the commands to one exchange."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redis.exceptions import ResponseError

from exchanges import command as commands
from exchanges.command import Command, Result, Status, Verb
from exchanges.state import state_redis, unavailable
from livermore.core import keys

_CONSUMER = "host"
_RESTARTED = Result(Status.FAILED, "restarted", "its host ended before the command did")


class Inbox:
    """A host's own reader of one exchange's commands, in the order sent.

    The host's name must be its alone. What an earlier process of that name had claimed and not ended
    is failed when reading begins; what it had only received is read again.
    """

    def __init__(self, exchange: str, host: str) -> None:
        self.exchange = exchange
        self._host = host
        self._key = keys.control(exchange)
        self._group = host
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
        is_ours = commands.claim(command.id, self._host)
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
        is_ended = commands.end(command.id, Status.ACKED, Result(status, code, message, self._host, answer))
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
        found = commands.stored(command_id)
        status = found.get("status")
        if found and Verb(found["verb"]).is_errand:
            pass  # workers carry it out, and end it
        elif status == Status.PENDING and commands.is_late(found):
            commands.expire(command_id)
        elif status == Status.PENDING and found["target"] in ("", self._host):
            return _read(command_id, found, entry)
        elif status == Status.ACKED and found["host"] == self._host and self._position != ">":
            commands.end(command_id, Status.ACKED, _RESTARTED)
        state_redis().xack(self._key, self._group, entry)
        return None


def _read(command_id: str, found: Mapping[str, str], entry: bytes) -> Command:
    return Command(
        command_id,
        found["exchange"],
        Verb(found["verb"]),
        found["target"],
        found["issued_by"],
        int(found["issued_ms"]),
        int(found["deadline_ms"]),
        entry=entry,
    )
