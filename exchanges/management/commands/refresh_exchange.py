"""`refresh_exchange NAME`: its symbols and its Tier 1, by the workers."""

from __future__ import annotations

from exchanges.control import Verb
from exchanges.management.ordering import OrderCommand


class Command(OrderCommand):
    """A durable command; waits for its result."""

    help = "Have the workers sync an exchange's symbols and rank them."
    verb = Verb.REFRESH
