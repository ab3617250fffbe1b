"""`resume_exchange NAME`: connect again after a pause."""

from __future__ import annotations

from exchanges.control import Verb
from exchanges.management.ordering import OrderCommand


class Command(OrderCommand):
    """A durable command; waits for its result."""

    help = "Connect a paused exchange again."
    verb = Verb.RESUME
