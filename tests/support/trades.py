"""Trades made up for tests, as a venue's frames and as the candle they must give."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any

BUCKET_MS = 300_000


@dataclass(frozen=True)
class Made:
    """One execution of a made-up market."""

    native: str
    id: int
    time_ms: int
    price: str
    quantity: str
    is_buy: bool

    def frame(self) -> bytes:
        """As Binance's combined stream would send it (one execution per aggregate)."""
        data = {
            "e": "aggTrade", "E": self.time_ms + 1, "s": self.native, "a": self.id, "p": self.price, "q": self.quantity,
            "f": self.id, "l": self.id, "T": self.time_ms, "m": not self.is_buy, "M": True,
        }  # fmt: skip
        return json.dumps({"stream": f"{self.native.lower()}@aggTrade", "data": data}, separators=(",", ":")).encode()


def make(count: int, natives: list[str], open_ms: int, buckets: int, seed: int = 1) -> list[Made]:
    """`count` executions spread evenly over symbols and buckets, in order of time, ids without holes."""
    rng = random.Random(seed)
    ids = dict.fromkeys(natives, 1_000)
    prices = dict.fromkeys(natives, 64_000 * 100)
    made = []
    for index in range(count):
        native = natives[index % len(natives)]
        prices[native] += rng.randint(-50, 50)
        ids[native] += 1
        time_ms = open_ms + index * buckets * BUCKET_MS // count
        quantity = f"{rng.randint(1, 10**6) / 10**5:.5f}"
        made.append(Made(native, ids[native], time_ms, f"{prices[native] / 100:.2f}", quantity, rng.random() < 0.5))
    return made


def truth(made: list[Made]) -> dict[tuple[str, int], dict[str, Any]]:
    """The candle of every (native, open ms), added up naively in exact decimals."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    with localcontext() as context:
        context.prec = 80
        for trade in made:
            price, quantity = Decimal(trade.price), Decimal(trade.quantity)
            candle = found.setdefault(
                (trade.native, trade.time_ms - trade.time_ms % BUCKET_MS),
                {"open": price, "high": price, "low": price, "volume": Decimal(0), "turnover": Decimal(0),
                 "taker_buy_volume": Decimal(0), "trades": 0},
            )  # fmt: skip
            candle["high"], candle["low"] = max(candle["high"], price), min(candle["low"], price)
            candle["close"] = price
            candle["volume"] += quantity
            candle["turnover"] += price * quantity
            candle["taker_buy_volume"] += quantity if trade.is_buy else 0
            candle["trades"] += 1
    return found
