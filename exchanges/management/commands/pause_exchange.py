"""`pause_exchange NAME`: close the sockets, keep the lease."""

from __future__ import annotations

from exchanges.control import Verb
from exchanges.management.ordering import OrderCommand


class Command(OrderCommand):
    """A durable command; waits for its result."""

    help = "Close an exchange's sockets and keep its lease."
    verb = Verb.PAUSE
