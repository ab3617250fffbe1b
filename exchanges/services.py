"""What the rest of the project asks about an exchange: its row, its REST, whether it streams."""

from __future__ import annotations

from exchanges import registry
from exchanges.models import Exchange
from exchanges.state import state_redis, unavailable
from exchanges.venue import Rest
from livermore.core import keys
from livermore.core.errors import InvalidInput

STREAMING_STATES = frozenset({"streaming", "degraded"})
"""States in which a venue is being listened to, so that asking it for more contacts nobody new."""


def usable(slug: str) -> Exchange:
    """The row of an exchange that may be used.

    Raises `InvalidInput` for an unknown one, a disabled one, and one without an adapter.
    """
    row = Exchange.objects.filter(pk=slug).first()
    if row is None:
        names = " ".join(Exchange.objects.filter(enabled=True).values_list("slug", flat=True))
        raise InvalidInput(f"exchange {slug!r} does not exist; accepted: {names or 'none is enabled'}")
    if not row.enabled:
        raise InvalidInput(f"exchange {slug!r} is disabled; enable it in the admin first")
    if slug not in registry.slugs():
        raise InvalidInput(f"exchange {slug!r} has no adapter; adapters exist for {' '.join(registry.slugs())}")
    return row


def rest(slug: str) -> Rest:
    """The REST of an exchange at the addresses in use; raises what `usable` raises. Contacts nobody."""
    row = usable(slug)
    return registry.venue(slug).rest(row.endpoint())


def streaming() -> list[str]:
    """The enabled exchanges whose stream runs now; raises `StoreUnavailable`."""
    slugs = list(Exchange.objects.filter(enabled=True).values_list("slug", flat=True))
    with unavailable():
        states = {slug: state_redis().hget(keys.stream(slug), "state") for slug in slugs}
    return [slug for slug, state in states.items() if state and state.decode().lower() in STREAMING_STATES]
