"""`roll_exchange NAME`: replace every connection."""

from __future__ import annotations

from exchanges.control import Verb
from exchanges.management.ordering import OrderCommand


class Command(OrderCommand):
    """A durable command; waits for its result."""

    help = "Replace every connection of a running stream, the successor first where trade ids allow."
    verb = Verb.ROLL
