"""The predecessor's Redis keys and channels, which name a user and an exchange by numbers (contract §4).

Only the migration uses them; `keys` has all others.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_KEY = re.compile(r"candles:([0-9]{1,18}):([0-9]{1,9}):([^:]+):([^:]+)")
_CHANNEL = re.compile(
    r"channel:(?:candle:close|candle|ticker|indicator|orderbook):([0-9]{1,18}):([0-9]{1,9}):[^:]+(?::[^:]+){0,2}"
)


class LegacyKey(NamedTuple):
    """Five segments: the sorted set of one user's candles of one symbol, as the predecessor spelled it."""

    user: int
    number: int
    symbol: str
    timeframe: str

    def __str__(self) -> str:
        return f"candles:{self.user}:{self.number}:{self.symbol}:{self.timeframe}"

    @property
    def channel_closed(self) -> str:
        """Where the predecessor's readers hear of a closed candle."""
        return f"channel:candle:close:{self.user}:{self.number}:{self.symbol}:{self.timeframe}"

    @property
    def channel_forming(self) -> str:
        """Where they hear of the forming one."""
        return f"channel:candle:{self.user}:{self.number}:{self.symbol}:{self.timeframe}"


def pattern(number: int) -> str:
    """Matches the candle keys of one exchange; no key of four segments fits it. What it finds must be parsed."""
    return f"candles:*:{number}:*:*"


def everywhere() -> str:
    """Matches the candle keys of every exchange; what it finds must be parsed."""
    return "candles:*:*:*:*"


def parse(key: str) -> LegacyKey | None:
    """The parts of a predecessor's candle key; None for any other, ours included."""
    found = _KEY.fullmatch(key)
    return LegacyKey(int(found[1]), int(found[2]), found[3], found[4]) if found else None


def channels() -> str:
    """Matches every channel, ours too: what it finds must be told apart by `number_of_channel`."""
    return "channel:*"


def number_of_channel(name: str) -> int | None:
    """The exchange's number in one of the predecessor's channels; None for any other, ours included."""
    found = _CHANNEL.fullmatch(name)
    return int(found[2]) if found else None


def series(exchange: str, symbol: str) -> str:
    """Hash key of the predecessor → what of it was copied, `""` before: who still reads this symbol there."""
    return f"legacy:{exchange}:{symbol}"
