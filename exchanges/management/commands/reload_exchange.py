"""`reload_exchange NAME`: follow its row and its symbols now."""

from __future__ import annotations

from exchanges.control import Verb
from exchanges.management.ordering import OrderCommand


class Command(OrderCommand):
    """A durable command; waits for its result."""

    help = "Have the stream follow its row and its symbols now, without waiting ten seconds."
    verb = Verb.RELOAD
