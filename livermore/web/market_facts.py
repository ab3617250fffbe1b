"""What is known of one market besides its candles: price, turnover, spread, liquidity, and why it is tracked."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

from django.db.models import Count, Sum

from candles import window
from candles.models import Candle
from exchanges.state import state_redis
from livermore.core import keys
from livermore.core.candle import BASE_TIMEFRAME, Timeframe
from livermore.web.series import FOREVER_MS
from livermore.web.state import texts
from symbols import liquidity
from symbols.models import DOLLAR_COIN_MARKETS, ExchangeSymbol, UserSymbolSubscription

DAY_MS = 86_400_000
WARM_BARS = 100
"""From so many bars on, a chart of a symbol just added is worth looking at."""


def row(symbol: ExchangeSymbol) -> dict[str, Any]:
    """What the symbol table says."""
    return {
        "exchange": symbol.exchange_id,
        "symbol": symbol.name,
        "native": symbol.native,
        "base": symbol.base,
        "quote": symbol.quote,
        "status": symbol.status,
        "is_trading": symbol.is_trading,
        "tier": symbol.tier,
        "rank": symbol.rank,
        "turnover_24h": _text(symbol.turnover_24h),
        "turnover_usd_24h": _text(symbol.turnover_usd_24h),
        "tick": _text(symbol.tick),
        "lot": _text(symbol.lot),
    }


def metrics(symbol: ExchangeSymbol) -> dict[str, Any]:
    """Price and spread with their ages, trades of the last 24 h, and liquidity, as far as each is known.

    The spread is between the newest prices at which takers bought and sold: no book is read. Trades are counted
    from our own candles, of which a day without any is unknown, not quiet. `None` is always "not known".
    """
    now_ms = time.time_ns() // 1_000_000
    quote = _quote(symbol)
    trades, counted = _trades(symbol, now_ms)
    score = liquidity.score(symbol.turnover_usd_24h, trades, quote["spread_bps"])
    return {
        "now_ms": now_ms,
        "price": quote["price"],
        "price_age_ms": None if quote["received_ms"] is None else max(0, now_ms - quote["received_ms"]),
        "spread_bps": None if quote["spread_bps"] is None else f"{quote['spread_bps']:.2f}",
        "trades_24h": trades,
        "candles_counted": counted,
        "liquidity_score": None if score is None else f"{score:.3f}",
        "liquidity_grade": liquidity.grade(score),
        "venues": _venues(symbol),
    }


def why(symbol: ExchangeSymbol, user: Any) -> dict[str, Any]:
    """Why it is streamed, or that it is not; of other users only how many there are."""
    live = UserSymbolSubscription.objects.live().filter(symbol=symbol)
    own = live.filter(user=user).first()
    others = live.exclude(user=user).count()
    reasons = []
    if symbol.tier == 1:
        place = f"rank {symbol.rank}" if symbol.rank else "by an operator"
        reasons.append(f"Tier 1: {place} of {symbol.exchange_id} by turnover in dollars")
    if own is not None:
        until = f"until {own.expires_at:%Y-%m-%d %H:%M} UTC" if own.expires_at else "for good"
        reasons.append(f"you follow it ({', '.join(own.reasons)}), {until}")
    if others:
        reasons.append(f"{others} other {'user follows' if others == 1 else 'users follow'} it")
    if symbol.name in DOLLAR_COIN_MARKETS:
        reasons.append("its price turns dollar coins into dollars")
    is_streamed = symbol.is_trading and bool(reasons)
    cost = {"topics": 1, "of_topics_per_connection": symbol.exchange.topics_per_connection}
    return {
        "is_streamed": is_streamed,
        "reasons": reasons or ["nobody follows it and it is not in Tier 1; POST /api/v1/subscriptions follows it"],
        "cost": cost if is_streamed else None,
    }


def warmth(symbol: ExchangeSymbol) -> dict[str, Any]:
    """How many closed candles of each timeframe the hot window holds, and whether that is enough for a chart."""
    frames = [Timeframe(t) for t in symbol.exchange.timeframes]
    spans = [window.Span(symbol.exchange_id, symbol.name, frame, 0, FOREVER_MS) for frame in frames]
    bars = dict(zip(map(str, frames), window.counts(spans), strict=True))
    return {"bars": bars, "is_warm": all(count >= WARM_BARS for count in bars.values())}


def _quote(symbol: ExchangeSymbol) -> dict[str, Any]:
    client = state_redis()
    ticker = texts(client.hgetall(keys.ticker(symbol.exchange_id, symbol.name)))
    said = client.hget(keys.quotes(symbol.base), f"{symbol.exchange_id}|{symbol.name}")
    bid, ask = said.decode().split("|")[3:5] if said else ("", "")
    spread_bps = None
    if bid and ask:
        middle = (Decimal(bid) + Decimal(ask)) / 2
        spread_bps = max(0.0, float((Decimal(ask) - Decimal(bid)) / middle * 10_000)) if middle else None
    received = ticker.get("received_ms")
    return {
        "price": ticker.get("price"),
        "received_ms": int(received) if received else None,
        "spread_bps": spread_bps,
    }


def _trades(symbol: ExchangeSymbol, now_ms: int) -> tuple[int | None, int]:
    day = Candle.objects.filter(symbol=symbol, timeframe=str(BASE_TIMEFRAME), open_ms__gte=now_ms - DAY_MS)
    found = day.aggregate(counted=Count("trades"), total=Sum("trades"))
    return found["total"], found["counted"]


def _venues(symbol: ExchangeSymbol) -> list[str]:
    listed = ExchangeSymbol.objects.trading().filter(base=symbol.base)
    return sorted(set(listed.values_list("exchange_id", flat=True)))


def _text(value: Decimal | None) -> str | None:
    return None if value is None else str(value)
