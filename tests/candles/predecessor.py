"""What the predecessor left in Redis, written as it wrote: floats, numeric ids, five segments."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from candles.legacy_models import LegacyMigration
from livermore.core.candle import Timeframe
from livermore.core.legacy_keys import LegacyKey
from tests.candles.streaming import past


def member(open_ms: int, key: LegacyKey, price: float = 10.5, volume: float = 1.25) -> str:
    """A bar."""
    said = {"timestamp": open_ms, "open": price, "high": price + 1, "low": price - 1, "close": price, "volume": volume}
    return json.dumps(said | {"symbol": key.symbol, "timeframe": key.timeframe})


def key(user: int, exchange: str, symbol: str, timeframe: str = "5m") -> LegacyKey:
    """The key of one user's bars."""
    return LegacyKey(user, LegacyMigration.objects.get(pk=exchange).number, symbol, timeframe)


def leave(client: Any, keys: Sequence[LegacyKey], bars: int, *, ends: int = 1, price: float = 10.5) -> None:
    """So many bars under each key, the newest of which ended so many intervals ago."""
    pipe = client.pipeline(transaction=False)
    for one in keys:
        length_ms = Timeframe(one.timeframe).ms
        newest_ms = past(0, aligned_ms=length_ms) - ends * length_ms
        opens = [newest_ms - n * length_ms for n in range(bars)]
        pipe.zadd(str(one), {member(open_ms, one, price): open_ms for open_ms in opens})
    pipe.execute()
