"""Errands that a person's own process carries out: on record as a command while it works, and with its end."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from django.core.management.base import CommandError

from exchanges import control, errands
from exchanges.control import Status, Verb
from exchanges.errands import Errand
from exchanges.management.ordering import GEO, asker
from livermore.command_line import TEMPORARY
from livermore.core.errors import StoreUnavailable
from livermore.logs import event

log = logging.getLogger(__name__)

TELL_EVERY_S = 10.0
INTERRUPTED = 130
_BEGINS_WITHIN_S = 30.0
_CODES = {GEO: "geo", TEMPORARY: "unavailable", INTERRUPTED: "interrupted"}


@contextmanager
def on_record(exchange: str, verb: Verb, symbol: str, key: str, line: Callable[[], str]) -> Iterator[None]:
    """Send the command to ourselves, and end it as the block ends; `line()` tells how far it is.

    Raises `CommandError` where the same key was used before: it is not done twice.
    """
    command_id = control.send(
        exchange, verb, issued_by=asker(), wait_s=_BEGINS_WITHIN_S, idempotency_key=key, symbol=symbol
    )
    errand = errands.claim(command_id, f"process {os.getpid()} on {socket.gethostname()}")
    if errand is None:
        found = control.result(command_id)
        said = f"{key!r} was sent before as command {command_id}, which is {found.status}: {found.message}"
        raise CommandError(said, returncode=0 if found.status is Status.DONE else TEMPORARY)
    over = threading.Event()
    teller = threading.Thread(target=_tell, args=(errand, line, over), name="telling", daemon=True)
    teller.start()
    try:
        yield
    except BaseException as error:
        _end(partial(errand.failed, error, _code(error)))
        raise
    else:
        _end(lambda: errand.done(line()))
    finally:
        over.set()
        teller.join()


def _code(error: BaseException) -> str:
    return _CODES.get(error.returncode, "") if isinstance(error, CommandError) else ""


def _tell(errand: Errand, line: Callable[[], str], over: threading.Event) -> None:
    while not over.wait(TELL_EVERY_S):
        try:
            errand.tell(line())
        except StoreUnavailable:
            continue  # the work itself will say so


def _end(how: Callable[[], bool]) -> None:
    try:
        how()
    except StoreUnavailable as error:  # it ends as abandoned
        event(log, "errand.not_ended", logging.WARNING, error=error)
