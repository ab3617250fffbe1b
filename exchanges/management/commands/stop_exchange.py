"""`stop_exchange NAME`: unsubscribe, publish what is left, release the lease."""

from __future__ import annotations

from exchanges.control import Verb
from exchanges.management.ordering import OrderCommand


class Command(OrderCommand):
    """A durable command; waits for its result."""

    help = "Stop an exchange's stream in good order."
    verb = Verb.STOP
