"""Fast signals: read the cross-section of each base, advance its signals, keep and tell what came of it."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

from candles import publish
from candles.models import Gap
from candles.models import Signal as SignalRow
from candles.preview import TRAIL_SECONDS
from candles.services.coverage import coverage
from candles.signals.event import Event
from candles.signals.lifecycle import advance
from candles.signals.reference import Leg, RateMarket, Trail
from candles.signals.registry import KINDS
from candles.signals.section import CrossSection, Health, Market
from candles.signals.state import State
from exchanges.state import state_redis, unavailable
from livermore.core import keys
from livermore.core.candle import BASE_TIMEFRAME
from livermore.core.symbol import Symbol
from livermore.logs import event as log_event
from symbols.models import ExchangeSymbol

log = logging.getLogger(__name__)

ASK_EVERY_MS = 250
ACTIVE_WITHIN_MS = 15_000
"""A base whose quotes did not change for so long has nothing to evaluate but its open signals."""
WARM_AFTER_MS = 60_000
LOCK_MS = 10_000
STATES_LIFE_S = 3600
STABLES = ("USDT", "USDC")
_CACHE_S = 30


@dataclass(frozen=True, slots=True)
class _Listing:
    """What the tables say of one market; cached for half a minute."""

    native: str
    rank: int
    taker_bps: float
    is_usdc_usd: bool
    home_url: str
    gaps_open: int
    is_halted: bool


@unavailable()
def should_evaluate() -> bool:
    """True at most every `ASK_EVERY_MS`, for whoever asks first."""
    return bool(state_redis().set(keys.asked(), 1, nx=True, px=ASK_EVERY_MS))


@unavailable()
def evaluate(now_ms: int) -> int:
    """Evaluate every base whose quotes changed lately or that has open signals; how many events came."""
    listings = _listings(now_ms // 1000 // _CACHE_S)
    touched = state_redis().zrangebyscore(keys.touched(), now_ms - ACTIVE_WITHIN_MS, "+inf")
    bases = {base.decode() for base in touched}
    rates = [market for asset in STABLES for market in _rate_markets(asset, listings, now_ms)]
    return sum(_evaluate_base(base, now_ms, rates, listings) for base in sorted(bases.difference(STABLES)))


def _evaluate_base(
    base: str, now_ms: int, rates: list[RateMarket], listings: Mapping[tuple[str, str], _Listing]
) -> int:
    if not state_redis().set(keys.signal_lock(base), 1, nx=True, px=LOCK_MS):
        return 0
    try:
        section = CrossSection(base, now_ms, tuple(_markets(base, now_ms, listings)), tuple(rates))
        events: list[Event] = []
        suppressed: Counter[str] = Counter()
        for kind, rules in KINDS.items():
            key = keys.signal_states(kind, base)
            stored = {name.decode(): text for name, text in state_redis().hgetall(key).items()}
            states = {name: State.from_dict(json.loads(text)) for name, text in stored.items()}
            done = advance(rules, states, section)
            events += done.events
            suppressed.update(map(str, done.suppressed))
            # Events first: after a crash here the same evaluation gives the same ids again.
            _keep([_finished(happening, listings) for happening in done.events])
            _keep_states(key, stored, {name: json.dumps(state.to_dict()) for name, state in done.states.items()})
        _count(suppressed)
        return len(events)
    finally:
        state_redis().delete(keys.signal_lock(base))


def _keep_states(key: str, before: Mapping[str, bytes], after: Mapping[str, str]) -> None:
    gone = [name for name in before if name not in after]
    if gone:
        state_redis().hdel(key, *gone)
    if after:
        state_redis().hset(key, mapping=dict(after))
        state_redis().expire(key, STATES_LIFE_S)


def _keep(events: Iterable[Event]) -> None:
    """Row first, then stream and channel; a repeat updates the same row."""
    events = list(events)
    for happening in events:
        is_closed = happening["phase"] == "closed"
        SignalRow.objects.update_or_create(
            event_id=happening["event_id"],
            defaults={
                "kind": happening["kind"],
                "phase": happening["phase"],
                "base": happening["base"],
                "direction": happening["direction"],
                "leader_id": happening["leader"]["exchange"],
                "follower_id": happening["follower"]["exchange"],
                "window_s": happening["window_s"],
                "opened_ms": happening["onset_ms"],
                "closed_ms": happening["evaluated_ms"] if is_closed else None,
                "outcome": happening.get("outcome", ""),
                "event": happening,
            },
        )
        log_event(
            log, f"signal.{happening['phase']}", kind=happening["kind"], base=happening["base"],
            leader=happening["leader"]["exchange"], follower=happening["follower"]["exchange"],
            remaining_bps=happening["metrics"]["remaining_bps"], outcome=happening.get("outcome"),
        )  # fmt: skip
    publish.signals(events)


def _finished(happening: Event, listings: Mapping[tuple[str, str], _Listing]) -> Event:
    """The parts of an event that only whoever publishes it knows."""
    follower = happening["follower"]
    listing = listings.get((follower["exchange"], follower["symbol"]))
    symbol = Symbol.parse(follower["symbol"])
    names = {"{base}": symbol.base, "{quote}": symbol.quote, "{native}": follower["native"]}
    home = listing.home_url if listing else ""
    for placeholder, text in names.items():
        home = home.replace(placeholder, text)
    spent_ms = time.time_ns() // 1_000_000 - happening["evaluated_ms"]
    return {
        **happening,
        "links": {**happening["links"], "home": home or None},
        "latency": {**happening["latency"], "eval_to_publish_ms": spent_ms},
    }


def _count(suppressed: Counter[str]) -> None:
    for reason, count in suppressed.items():
        state_redis().hincrby(keys.suppressed(), reason, count)


# ---- the cross-section ---------------------------------------------------------------------------


def _markets(base: str, now_ms: int, listings: Mapping[tuple[str, str], _Listing]) -> Iterable[Market]:
    for (exchange, name), (price, event_ms, received_ms, bid, ask) in _quotes(base).items():
        listing = listings.get((exchange, name))
        if listing is None:
            continue
        symbol = Symbol.parse(name)
        atr_bps, is_converged = _atr(exchange, name)
        since_ms = coverage(exchange).since_ms
        leg = Leg(
            exchange, name, listing.native, symbol.base, symbol.quote, Decimal(price), event_ms, received_ms,
            is_usdc_usd=listing.is_usdc_usd,
        )  # fmt: skip
        is_warming = not since_ms or now_ms - since_ms < WARM_AFTER_MS
        health = Health(is_warming=is_warming, is_halted=listing.is_halted, gaps_open=listing.gaps_open)
        yield Market(
            leg, _trail(exchange, name, now_ms), listing.taker_bps, atr_bps, is_converged,
            spread_bps=_spread_bps(bid, ask), health=health, rank=listing.rank,
        )  # fmt: skip


def _rate_markets(asset: str, listings: Mapping[tuple[str, str], _Listing], now_ms: int) -> Iterable[RateMarket]:
    """Direct markets of a stable coin."""
    for exchange, name in _quotes(asset):
        listing, symbol = listings.get((exchange, name)), Symbol.parse(name)
        if listing is not None:
            unit = "USD" if symbol.quote == "USDC" and listing.is_usdc_usd else symbol.quote
            yield RateMarket(exchange, asset, unit, _trail(exchange, name, now_ms))


def _quotes(base: str) -> dict[tuple[str, str], tuple[str, int, int, str, str]]:
    found = {}
    for name, value in state_redis().hgetall(keys.quotes(base)).items():
        exchange, _, symbol = name.decode().partition("|")
        price, event_ms, received_ms, bid, ask = value.decode().split("|")
        found[exchange, symbol] = (price, int(event_ms), int(received_ms), bid, ask)
    return found


def _trail(exchange: str, symbol: str, now_ms: int) -> Trail:
    points = []
    for value in state_redis().hvals(keys.trail(exchange, symbol)):
        at_ms, _, price = value.partition(b"|")
        points.append((int(at_ms), float(price)))
    points.sort()
    return [point for point in points if now_ms - point[0] < TRAIL_SECONDS * 1000]


def _atr(exchange: str, symbol: str) -> tuple[float | None, bool]:
    """ATR26 of the 5m candles in bps of the last close, and whether it has converged."""
    text = state_redis().get(keys.indicator(exchange, symbol, BASE_TIMEFRAME, "macdv"))
    if text is None:
        return None, False
    value: dict[str, Any] = json.loads(text)
    if value["atr"] is None or not value["close"]:
        return None, False
    return 1e4 * value["atr"] / value["close"], bool(value["converged"])


def _spread_bps(bid: str, ask: str) -> float | None:
    """From the newest prices at which takers sold and bought; None while they cross or one is unknown."""
    if not bid or not ask or float(ask) < float(bid):
        return None
    return 2e4 * (float(ask) - float(bid)) / (float(ask) + float(bid))


@lru_cache(maxsize=2)
def _listings(_generation: int) -> Mapping[tuple[str, str], _Listing]:
    """Every trading symbol by (exchange, name); the argument only dates the answer."""
    gaps = Counter(Gap.objects.filter(closed_at=None).values_list("exchange_id", "symbol"))
    return {
        (symbol.exchange_id, symbol.name): _Listing(
            native=symbol.native,
            rank=symbol.rank or 1_000_000,
            taker_bps=float(symbol.exchange.taker_fee_bps),
            is_usdc_usd=symbol.exchange.merges_usd_usdc,
            home_url=symbol.exchange.home_url,
            gaps_open=gaps[symbol.exchange_id, symbol.name],
            is_halted=not symbol.is_trading,
        )
        for symbol in ExchangeSymbol.objects.trading().select_related("exchange")
    }
