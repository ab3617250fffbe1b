"""Which symbols ride on which socket: pure, stable, so that one symbol more touches one socket."""

from __future__ import annotations

from collections.abc import Collection, Sequence

HEADROOM = 0.9
"""Share of a venue's topics per connection that we use."""


def place(placed: Sequence[Sequence[str]], wanted: Collection[str], topics_per_connection: int) -> list[list[str]]:
    """The symbols of each socket, given the sockets there are: kept where they were, new ones where there is room.

    A socket whose symbols are all gone stays in the list, empty, so that positions never shift.
    """
    room = max(1, int(topics_per_connection * HEADROOM))
    still = set(wanted)
    plans = [[native for native in natives if native in still] for natives in placed]
    for native in sorted(still.difference(*plans)):
        plan = next((p for p in plans if len(p) < room), None)
        if plan is None:
            plan = []
            plans.append(plan)
        plan.append(native)
    return plans
