"""How old the prices of an asset are at each exchange, and who moves first."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from django.http import HttpRequest
from ninja import Query, Router

from livermore.web import latency, markets

router = Router(tags=["latency"])


@router.get("/latency")
def show_latency(
    request: HttpRequest,
    base: Annotated[str, Query(min_length=1, max_length=32)],
    window: Literal["1h", "24h"] = "1h",
) -> dict[str, Any]:
    """Ages (ms) of a base's markets, and in which share of moves of 20 bps or more each exchange was first.

    `arrival` goes by when a move reached us, `venue` by the venues' own clocks, put right; a lead within the clocks'
    uncertainty or within a second of a trail is a tie. `share` is null for fewer than `enough` moves.
    """
    name = base.strip().upper()
    told = latency.report(name, window)
    if not told["markets"] and name not in (known := markets.bases()):
        raise markets.Unknown("unknown_symbol", f"no exchange lists {name!r}", markets.nearest(name, known))
    return told
