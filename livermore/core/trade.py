"""One execution, as every venue's mapper must describe it."""

from __future__ import annotations

from typing import NamedTuple, NewType

Nanos = NewType("Nanos", int)

NANOS_PER_MS = 1_000_000


class Trade(NamedTuple):
    """An execution (or one taker order's executions at one price, where the venue bundles them).

    `symbol` is canonical. `time_ns` is the venue's match time in nanoseconds UTC. `id` is the venue's
    trade id: a number where it can be ordered, text where it only identifies, "" where there is none.
    `executions` are bundled in it, with ids `id … id + executions − 1`. `price` (in quote) and `quantity`
    (in base) are the venue's own decimal text. `is_buy` tells that the *taker* bought.
    """

    symbol: str
    time_ns: int
    id: int | str
    executions: int
    price: str
    quantity: str
    is_buy: bool
