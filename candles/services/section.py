"""The cross-section of each base for the fast signals, read from Redis and from the tables."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property, lru_cache
from math import ceil, inf
from typing import Any

from candles.models import Gap
from candles.preview import TRAIL_SECONDS
from candles.services import signal_memory, standings
from candles.services.coverage import coverage
from candles.signals.collision import judged
from candles.signals.evaluation import Kind
from candles.signals.reference import Leg, RateMarket, Trail, usd_rates
from candles.signals.section import Clock, CrossSection, Health, Market
from candles.signals.stable_depeg import is_off
from exchanges.clock import KNOWN_FOR_MS
from exchanges.state import state_redis
from livermore.core import keys
from livermore.core.candle import BASE_TIMEFRAME
from livermore.core.gap import Cause
from livermore.core.symbol import Symbol
from symbols.models import ExchangeSymbol

WARM_AFTER_MS = 60_000
STABLES = ("USDT", "USDC")
DOLLARS = ("USD", *STABLES)
_CACHE_S = 30


@dataclass(frozen=True, slots=True)
class Listing:
    """What the tables say of one market; read again every half minute.

    `gaps_open` counts gaps that reach into the trail: older ones do not touch what signals compare.
    """

    native: str
    rank: int
    taker_bps: float
    is_usdc_usd: bool
    home_url: str
    gaps_open: int
    is_halted: bool
    turnover_usd: float = 0.0


class Sections:
    """What one evaluation of all bases reads, each thing once."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms
        self.listings = _listings(now_ms // 1000 // _CACHE_S)
        self._since_ms: dict[str, int] = {}
        self._clocks: dict[str, Clock] = {}
        self._rates = tuple(market for asset in STABLES for market in self._rate_markets(asset))

    def of(self, base: str) -> CrossSection:
        """Everything an evaluation of this base may look at."""
        markets = judged(list(self._markets(base)), usd_rates(self._rates, self.now_ms))
        return CrossSection(base, self.now_ms, markets, self._rates, standings.known(base), self.off_peg)

    @cached_property
    def off_peg(self) -> frozenset[str]:
        """The stable coins with an open STABLE_DEPEG."""
        return frozenset(coin for coin in STABLES if is_off(coin, signal_memory.active(Kind.STABLE_DEPEG, coin)))

    def listed(self, base: str) -> list[tuple[str, str]]:
        """(exchange, symbol) of every market of this base that traded lately."""
        return list(self._quotes(base))

    def unit(self, exchange: str, name: str) -> str:
        """The money that a market's prices are counted in."""
        quote = Symbol.parse(name).quote
        return "USD" if quote == "USDC" and self.listings[exchange, name].is_usdc_usd else quote

    def _markets(self, base: str) -> Iterator[Market]:
        quotes = self._quotes(base)
        pipe = state_redis().pipeline(transaction=False)
        for exchange, name in quotes:
            pipe.hvals(keys.trail(exchange, name))
            pipe.get(keys.indicator(exchange, name, BASE_TIMEFRAME, "macdv"))
        answers = iter(pipe.execute())
        for (exchange, name), quote in quotes.items():
            yield self._market(exchange, name, quote, trail=next(answers), macdv=next(answers))

    def _market(self, exchange: str, name: str, quote: bytes, *, trail: Iterable[bytes], macdv: bytes | None) -> Market:
        listing, symbol = self.listings[exchange, name], Symbol.parse(name)
        price, event_ms, received_ms, bid, ask, *more = quote.decode().split("|")
        worth, stored_ms, batch = more if len(more) == 3 else ("", "", "")
        atr_bps, is_converged = _atr(macdv)
        leg = Leg(
            exchange, name, listing.native, symbol.base, symbol.quote, Decimal(price), int(event_ms), int(received_ms),
            is_usdc_usd=listing.is_usdc_usd, batch=batch, stored_ms=int(stored_ms) if stored_ms else None,
        )  # fmt: skip
        health = Health(
            is_warming=self._is_warming(exchange), is_halted=listing.is_halted, gaps_open=listing.gaps_open
        )
        return Market(
            leg, _trail(trail, self.now_ms), listing.taker_bps, atr_bps, is_converged,
            spread_bps=_spread_bps(bid, ask), clock=self._clock(exchange), health=health, rank=listing.rank,
            last_trade_usd=float(worth) if worth and symbol.quote in DOLLARS else None,
            turnover_usd=listing.turnover_usd,
        )  # fmt: skip

    def _rate_markets(self, asset: str) -> Iterator[RateMarket]:
        """Direct markets of a stable coin."""
        quotes = self._quotes(asset)
        pipe = state_redis().pipeline(transaction=False)
        for exchange, name in quotes:
            pipe.hvals(keys.trail(exchange, name))
        for (exchange, name), trail in zip(quotes, pipe.execute(), strict=True):
            yield RateMarket(exchange, asset, self.unit(exchange, name), _trail(trail, self.now_ms))

    def _quotes(self, base: str) -> dict[tuple[str, str], bytes]:
        """The newest quotes of markets that are listed, by (exchange, symbol)."""
        found = {}
        for name, quote in state_redis().hgetall(keys.quotes(base)).items():
            exchange, _, symbol = name.decode().partition("|")
            if (exchange, symbol) in self.listings:
                found[exchange, symbol] = quote
        return found

    def _is_warming(self, exchange: str) -> bool:
        if exchange not in self._since_ms:
            self._since_ms[exchange] = coverage(exchange).since_ms
        since_ms = self._since_ms[exchange]
        return not since_ms or self.now_ms - since_ms < WARM_AFTER_MS

    def _clock(self, exchange: str) -> Clock:
        """What its stream's host last measured; unknown when that was too long ago, or when no host speaks of it."""
        if exchange not in self._clocks:
            fields = ("clock_offset_ms", "clock_uncertainty_ms", "clock_measured_ms")
            offset, uncertainty, measured = state_redis().hmget(keys.stream(exchange), *fields)
            is_known = measured and self.now_ms - int(measured) <= KNOWN_FOR_MS
            known = Clock(round(float(offset)), ceil(float(uncertainty))) if is_known else Clock()
            self._clocks[exchange] = known
        return self._clocks[exchange]


def _trail(values: Iterable[bytes], now_ms: int) -> Trail:
    """Parsed as one column each: trails are most of what an evaluation reads."""
    parts = b"|".join(values).split(b"|")
    points = sorted(zip(map(int, parts[::2]), map(float, parts[1::2]), strict=True)) if len(parts) > 1 else []
    # The ring keeps what a market that fell silent left in it.
    return points[bisect_right(points, (now_ms - TRAIL_SECONDS * 1000, inf)) :]


def _atr(macdv: bytes | None) -> tuple[float | None, bool]:
    """ATR26 of the 5m candles in bps of the last close, and whether it has converged."""
    value: dict[str, Any] = json.loads(macdv) if macdv else {}
    if not value or value["atr"] is None or not value["close"]:
        return None, False
    return 1e4 * value["atr"] / value["close"], bool(value["converged"])


def _spread_bps(bid: str, ask: str) -> float | None:
    """From the newest prices at which takers sold and bought; None while they cross or one is unknown."""
    if not bid or not ask or float(ask) < float(bid):
        return None
    return 2e4 * (float(ask) - float(bid)) / (float(ask) + float(bid))


@lru_cache(maxsize=2)
def _listings(generation: int) -> Mapping[tuple[str, str], Listing]:
    """Every symbol by (exchange, name), as of the beginning of this half minute; of two, the one that trades."""
    recent_ns = (generation * _CACHE_S - TRAIL_SECONDS) * 1_000_000_000
    # What was traded before a start belongs to its candle; the price now is not in doubt for it.
    open_now = Gap.objects.filter(closed_at=None, to_ns__gt=recent_ns).exclude(cause=str(Cause.START))
    gaps = Counter(open_now.values_list("exchange_id", "symbol"))
    return {
        (symbol.exchange_id, symbol.name): Listing(
            native=symbol.native,
            rank=symbol.rank or 1_000_000,
            taker_bps=float(symbol.exchange.taker_fee_bps),
            is_usdc_usd=symbol.exchange.merges_usd_usdc,
            home_url=symbol.exchange.home_url,
            gaps_open=gaps[symbol.exchange_id, symbol.name] + gaps[symbol.exchange_id, ""],
            is_halted=not symbol.is_trading,
            turnover_usd=float(symbol.turnover_usd_24h or 0),
        )
        for symbol in ExchangeSymbol.objects.select_related("exchange").order_by("is_trading")
    }
