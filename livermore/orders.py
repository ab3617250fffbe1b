"""The one way to send a command, whoever asks: `manage.py`, an action of the admin, or the API."""

from __future__ import annotations

from kombu.exceptions import OperationalError

from exchanges import command as commands
from exchanges import control
from exchanges.control import Result, Status, Verb
from exchanges.errands import TASKS
from livermore.celery import app
from livermore.core.errors import InvalidInput, StoreUnavailable
from symbols.choosing import ALL, choose

HOST_WAIT_S, ERRAND_WAIT_S = 60.0, 900.0
"""So long a command may wait to be begun where nobody says: workers may have much to do first."""
_NO_BROKER = Result(Status.FAILED, "unavailable", "the broker did not take its task")


def order(
    exchange: str,
    verb: Verb,
    *,
    issued_by: str,
    wait_s: float | None = None,
    target: str = "",
    idempotency_key: str = "",
    symbol: str = "",
) -> str:
    """Send a command, and an errand's task; returns the command's id.

    `symbol` names the symbols of an errand, with blanks between ("" = all that are streamed). Raises `InvalidInput`
    for what the verb does not take or the exchange has not, and `StoreUnavailable`.
    """
    check(exchange, verb, target=target, symbol=symbol)
    wait_s = wait_s or (ERRAND_WAIT_S if verb.is_errand else HOST_WAIT_S)
    command_id = control.send(
        exchange, verb, issued_by=issued_by, wait_s=wait_s, target=target, idempotency_key=idempotency_key,
        symbol=" ".join(symbol.split()),
    )  # fmt: skip
    if verb.is_errand:
        _enqueue(exchange, verb, command_id, symbol)
    return command_id


def check(exchange: str, verb: Verb, *, target: str = "", symbol: str = "") -> None:
    """Raises `InvalidInput` for what the verb does not take, and for symbols that the exchange has not."""
    if target and verb.is_errand:
        raise InvalidInput(
            f"{verb} is carried out by workers and takes no target; those of a stream host do: {_hosts()}"
        )
    if symbol and not verb.takes_symbols:
        takers = " ".join(v for v in Verb if v.takes_symbols)
        raise InvalidInput(f"{verb} takes no symbol; these do: {takers}")
    if verb.takes_symbols:
        choose(exchange, symbol.split() or [ALL])


def _hosts() -> str:
    return " ".join(v for v in Verb if not v.is_errand)


def _enqueue(exchange: str, verb: Verb, command_id: str, symbol: str) -> None:
    try:
        app.send_task(
            TASKS[verb],
            (command_id,),
            queue=f"backfill.{exchange}",
            argsrepr=f"{exchange} {verb} {symbol or 'all'}",
            retry=False,
        )
    except (OperationalError, OSError) as error:
        commands.end(command_id, Status.PENDING, _NO_BROKER)
        raise StoreUnavailable(f"the broker does not answer: {error}") from error
