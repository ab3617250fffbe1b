"""Rows and values for tests, each with the few fields a test cares about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from exchanges.models import Exchange
from exchanges.venue import Instrument
from livermore.core.candle import Kline, Timeframe
from livermore.core.symbol import Symbol
from symbols.models import ExchangeSymbol


def exchange(slug: str = "toy", **fields: Any) -> Exchange:
    """A stored exchange that nobody else knows."""
    given = {
        "title": slug.title(),
        "rest_url": "https://rest.example",
        "ws_url": "wss://stream.example",
        "topics_per_connection": 10,
        "messages_per_second": Decimal(5),
        "connects_per_5min": 100,
        "rest_weight": 1000,
        "taker_fee_bps": Decimal(10),
        "maker_fee_bps": Decimal(10),
    } | fields
    return Exchange.objects.create(slug=slug, **given)


def symbol(at: Exchange, name: str, **fields: Any) -> ExchangeSymbol:
    """A stored symbol that trades; its native name is the canonical one without the dash."""
    base, quote = name.split("-")
    return ExchangeSymbol.objects.create(
        exchange=at, **{"native": f"{base}{quote}", "base": base, "quote": quote} | fields
    )


def instrument(name: str, **fields: Any) -> Instrument:
    """What a venue lists."""
    base, quote = name.split("-")
    given = {
        "native": f"{base}{quote}",
        "symbol": Symbol(base, quote),
        "is_trading": True,
        "status": "TRADING",
        "tick": Decimal("0.01"),
        "lot": Decimal("0.0001"),
    }
    return Instrument(**given | fields)


@dataclass
class ListedRest:
    """A venue's REST that answers from what a test lists: instruments, turnovers, last closes by native."""

    listed: Sequence[Instrument] = ()
    turnovers: Mapping[str, Decimal] = field(default_factory=dict)
    closes: Mapping[str, Decimal] = field(default_factory=dict)
    asked_klines: list[str] = field(default_factory=list)

    def instruments(self) -> Sequence[Instrument]:
        return self.listed

    def volumes(self) -> Mapping[str, Decimal]:
        return self.turnovers

    def klines(self, native: str, timeframe: Timeframe, start_ms: int, end_ms: int) -> Sequence[Kline]:
        """Two hours, newest first as some venues do; only the newest closes at the listed price."""
        self.asked_klines.append(native)
        close = self.closes.get(native)
        if close is None:
            return []
        newest = end_ms - timeframe.ms
        return [
            Kline(open_ms, price, price, price, price, Decimal(1))
            for open_ms, price in ((newest, close), (newest - timeframe.ms, close * 2))
        ]
