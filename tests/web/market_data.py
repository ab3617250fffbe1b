"""Market data as the workers would have left it in Redis."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from decimal import Decimal
from typing import Any

import redis

from candles import publish, window
from candles.services import drift
from livermore.core import keys
from livermore.core.candle import BUCKET_MS, Candle, Quality, Timeframe


def now_ms() -> int:
    """The clock the pages compare with."""
    return time.time_ns() // 1_000_000


def current_bucket() -> int:
    """The open of the running 5m bucket."""
    return now_ms() // BUCKET_MS * BUCKET_MS


def candles(exchange: str, symbol: str, count: int, *, price: float = 64_000.0, seed: int = 1) -> list[Candle]:
    """A random walk of closed 5m candles that ends with the running bucket."""
    dice = random.Random(f"{seed}{symbol}")
    trend = random.Random(exchange)
    last = price
    found = []
    for number in range(count):
        opened, closed = last, last * (1 + dice.gauss(0, 0.0012)) + trend.gauss(0, price * 0.0001)
        high, low = max(opened, closed) * (1 + abs(dice.gauss(0, 0.0005))), min(opened, closed) * 0.9995
        texts = [Decimal(f"{value:.2f}") for value in (opened, max(high, opened, closed), low, closed)]
        found.append(
            Candle(
                exchange,
                symbol,
                Timeframe.M5,
                current_bucket() - (count - number) * BUCKET_MS,
                *texts,
                volume=Decimal(f"{dice.uniform(1, 40):.4f}"),
                turnover=Decimal("790123.456"),
                taker_buy_volume=Decimal("6.1"),
                trades=dice.randrange(200, 4000),
                quality=Quality.PROVEN,
            )
        )
        last = closed
    return found


def fill_window(exchange: str, symbol: str, count: int, **how: Any) -> list[Candle]:
    """Closed candles in the hot window."""
    made = candles(exchange, symbol, count, **how)
    window.put(made)
    return made


def set_drift(state: redis.Redis, exchange: str) -> int:
    """Frames that did not fit, just now; returns when."""
    at_ms, pipe = now_ms(), state.pipeline()
    drift.stage(pipe, exchange, Counter({"no field `p`": 5}), Counter({"Item.999": 12}), at_ms)
    pipe.execute()
    return at_ms


def set_forming(
    state: redis.Redis, exchange: str, symbol: str, close: str, *, updated_ms: int | None = None
) -> dict[str, Any]:
    """The forming candle, as the preview shows it; returns what was written."""
    shown = {
        "open_time": current_bucket(),
        **dict.fromkeys(("open", "high", "low", "close"), close),
        "volume": "1.5",
        "turnover": "96000",
        "trades": 12,
        "final": "false",
        "updated_ms": now_ms() if updated_ms is None else updated_ms,
    }
    state.hset(keys.forming(exchange, symbol, "5m"), mapping=shown)
    return shown


def set_stream(redis_state: redis.Redis, exchange: str, /, **said: Any) -> None:
    """The observed state of a stream that has run for a minute, changed by `said`."""
    now = now_ms()
    fields = {
        "state": "streaming",
        "reason": "",
        "host": "desk",
        "epoch": 7,
        "region": "DE",
        "endpoint": "wss://example.com",
        "endpoint_overridden": 0,
        "sockets": 2,
        "wanted": 100,
        "acked": 100,
        "receiving": 98,
        "frames": 123456,
        "frames_per_s": 412.5,
        "lag_ms": 48,
        "since_ms": now - 60_000,
        "last_frame_ms": now,
        "spooled": 0,
        "updated_ms": now,
    }
    redis_state.hset(keys.stream(exchange), mapping={**fields, **said})


def signal(number: int, **said: Any) -> dict[str, Any]:
    """A signal event; numbers make different ones."""
    at = now_ms() - 1000 * number
    legs = {"ts_exchange": at, "ts_recv": at + 48, "age_ms": 48}
    return {
        "schema": "signal.v1",
        "event_id": f"00000000-0000-0000-0000-{number:012d}",
        "kind": "LEADER_MOVE",
        "phase": "opened",
        "base": "BTC",
        "direction": "up",
        "window_s": 60,
        "leader": {"exchange": "coinbase", "symbol": "BTC-USD", "price": "64256.00", "quote": "USD", **legs},
        "follower": {"exchange": "kucoin", "symbol": "BTC-USDT", "price": "63962.79", "quote": "USDT", **legs},
        "metrics": {"move_leader_bps": "39.92", "move_follower_bps": "2.00", "z": "2.98", "remaining_bps": "37.92"},
        "costs": {"local_taker_bps": "10", "net_entry_bps": "27.42", "net_round_bps": "16.92"},
        **said,
    }


def publish_signal(event: dict[str, Any]) -> None:
    """Append to the stream and wake."""
    publish.signals([event])


def as_text(event: dict[str, Any]) -> str:
    """An event as the stream holds it."""
    return json.dumps(event, separators=(",", ":"))
