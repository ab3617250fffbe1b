"""Every Redis channel is built here and nowhere else (contract §4); `livermore.core.keys` names them, too."""

from __future__ import annotations


def channel_forming(exchange: str, symbol: str, timeframe: str) -> str:
    """Wake-up: the forming candle changed."""
    return f"channel:candle:{exchange}:{symbol}:{timeframe}"


def channel_closed(exchange: str, symbol: str, timeframe: str) -> str:
    """Wake-up: a candle was closed or revised."""
    return f"channel:candle:close:{exchange}:{symbol}:{timeframe}"


def channel_indicator(exchange: str, symbol: str, timeframe: str, kind: str) -> str:
    """Wake-up: an indicator has a new value."""
    return f"channel:indicator:{exchange}:{symbol}:{timeframe}:{kind}"


def channel_ticker(exchange: str, symbol: str) -> str:
    """Wake-up: a new last trade."""
    return f"channel:ticker:{exchange}:{symbol}"


def channel_signal(base: str) -> str:
    """Wake-up: a signal of this base opened, changed or closed."""
    return f"channel:signal:{base}"


def channel_canary(exchange: str) -> str:
    """Wake-up of our own readers: a canary of this exchange came through."""
    return f"channel:canary:{exchange}"


def channel_alerts(exchange: str) -> str:
    """Wake-up: an alert of an indicator at this exchange, or of frames that do not fit its schema."""
    return f"channel:alerts:{exchange}"


def channel_exchange(exchange: str) -> str:
    """Wake-up: lifecycle and health of an exchange changed."""
    return f"channel:exchange:{exchange}"
