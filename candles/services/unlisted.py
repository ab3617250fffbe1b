"""What a venue has no bars of: the time before a market's first one. Remembered so that it is asked for once."""

from __future__ import annotations

from exchanges.state import state_redis, unavailable
from livermore.core import keys
from livermore.core.candle import Timeframe

KEPT_S = 7 * 86_400
"""A venue may add older history, and a lost note costs a request."""


@unavailable()
def remember(exchange: str, symbol: str, timeframe: Timeframe, from_ms: int, to_ms: int) -> None:
    """The venue was asked for `[from_ms, to_ms)` and has nothing there."""
    key = keys.unlisted(exchange)
    state_redis().hset(key, f"{symbol}|{timeframe}", f"{from_ms}:{to_ms}")
    state_redis().expire(key, KEPT_S)


@unavailable()
def skip(exchange: str, symbol: str, timeframe: Timeframe, start_ms: int) -> int:
    """From where to ask, when everything since `start_ms` is wanted."""
    noted = state_redis().hget(keys.unlisted(exchange), f"{symbol}|{timeframe}")
    if noted is None:
        return start_ms
    from_ms, to_ms = map(int, noted.split(b":"))
    return max(start_ms, to_ms) if from_ms <= start_ms else start_ms
