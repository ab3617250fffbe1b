"""Errands: the commands that workers carry out, recorded as durably as those of a stream host.

Whoever sends one enqueues the task of its verb, by name: this app knows nothing of those to its right. That
task claims the errand, may do it in steps that are further tasks, and ends it. A message that is delivered
again goes on where its errand is still its own; any other finds it taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from exchanges import command as commands
from exchanges.command import Result, Status, Verb
from exchanges.state import unavailable
from livermore.core.errors import GeoBlocked, InvalidInput, Refused, Transient

TASKS: Mapping[Verb, str] = {
    Verb.BACKFILL: "candles.run_backfill",
    Verb.RECONCILE: "candles.run_reconcile",
    Verb.REFRESH: "symbols.run_refresh",
}
"""What carries each errand out; the task takes the command's id."""

_CODES: tuple[tuple[type[Exception], str], ...] = (
    (GeoBlocked, "geo"),
    (Refused, "refused"),
    (Transient, "unavailable"),
    (InvalidInput, "invalid"),
)


@dataclass(frozen=True, slots=True)
class Errand:
    """One errand in the hands of `runner`; `symbol` as in `exchanges.command.Command`."""

    id: str
    exchange: str
    verb: Verb
    symbol: str
    runner: str

    @unavailable()
    def tell(self, message: str, **answer: Any) -> bool:
        """How far it is; must be called at least every few minutes. False: it has its end, so stop."""
        return commands.tell(self.id, self.runner, message, answer)

    @unavailable()
    def done(self, message: str, **answer: Any) -> bool:
        """Its good end; False when it had an end."""
        return self._end(Result(Status.DONE, "ok", message, self.runner, answer))

    @unavailable()
    def failed(self, error: BaseException, code: str = "") -> bool:
        """Its end by an error, whose class says the code unless that is given; False when it had an end."""
        found = code or next((code for kind, code in _CODES if isinstance(error, kind)), "error")
        return self._end(Result(Status.FAILED, found, str(error) or type(error).__name__, self.runner))

    def _end(self, result: Result) -> bool:
        return commands.end(self.id, Status.ACKED, result)


@unavailable()
def claim(command_id: str, runner: str) -> Errand | None:
    """The errand, if `runner` may carry it out or goes on with it; None where it is late, ended or another's."""
    found = commands.stored(command_id)
    if not found:
        return None
    is_ours = found["status"] == Status.ACKED and found.get("host") == runner
    if not is_ours and not commands.claim(command_id, runner):
        if found["status"] == Status.PENDING and commands.is_late(found):
            commands.expire(command_id)
        return None
    return Errand(command_id, found["exchange"], Verb(found["verb"]), found.get("symbol", ""), runner)
