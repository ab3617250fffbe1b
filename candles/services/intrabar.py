"""Alerts on bars that still form, for deployments that ask for them: previews, named so, apart from the others."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from django.db import transaction

from candles import publish, window
from candles.indicators import macdv, trust
from candles.indicators.alerts import Hit, Memory, Rules, identity, standing, step
from candles.indicators.bars import Bars
from candles.indicators.indicator import LOAD_BARS
from candles.models import Alert as AlertRow
from candles.models import AlertMemory
from candles.services import alert_event, alert_rules
from candles.services.alert_event import Looked
from exchanges.state import state_redis, unavailable
from livermore.core import keys
from livermore.core.candle import BASE_TIMEFRAME, Candle, Quality
from livermore.core.errors import InvalidInput
from symbols.models import ExchangeSymbol

KIND = "macdv_intrabar"
EVERY_MS = 10_000
_SKEW_MS = 60_000


@unavailable()
def should_evaluate(exchange: str) -> bool:
    """Does the deployment ask for it, and is it time again? True for whoever asks first.

    Rules that cannot be read ask for nothing: whoever closes candles calls this.
    """
    try:
        is_wanted = alert_rules.current().is_intrabar
    except InvalidInput:
        is_wanted = False
    if not is_wanted:
        return False
    return bool(state_redis().set(keys.intrabar_asked(exchange), 1, nx=True, px=EVERY_MS))


def evaluate(exchange: str, now_ms: int | None = None) -> int:
    """Judge the forming 5m bars of the shared pool against their closed ones; how many alerts were told now.

    A label is told once per bar. What is remembered between closed bars stays as it is: a spike that fades
    leaves no mark on them. Raises `StoreUnavailable`.
    """
    rules = alert_rules.current().rules
    now = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    forming = _forming(exchange, now - now % BASE_TIMEFRAME.ms)
    if not forming:
        return 0
    open_ms = next(iter(forming.values())).open_ms
    known = {row.symbol: Memory.from_dict(row.memory) for row in _memories(exchange, list(forming))}
    told_before = set(
        AlertRow.objects.filter(exchange=exchange, kind=KIND, open_ms=open_ms).values_list("symbol", "label")
    )
    events, rows = {}, []
    for symbol, memory in known.items():
        for looked, hit in _hits(rules, memory, forming[symbol]):
            label = f"intrabar_{hit.label}"
            if (symbol, label) in told_before:
                continue
            name = identity(*looked.place, label, open_ms)
            told = alert_event.raised(looked, hit, rules, name, now) | {"kind": KIND, "label": label, "final": False}
            events[f"{name}:0"] = told
            rows.append(
                AlertRow(
                    exchange_id=exchange, symbol=symbol, timeframe=str(BASE_TIMEFRAME), event_id=name, kind=KIND,
                    label=label, open_ms=open_ms, price=Decimal(told["price"]), raised_ms=now, event=told,
                )
            )  # fmt: skip
    with transaction.atomic():
        count = publish.alerts_once(events, open_ms - _SKEW_MS)
        AlertRow.objects.bulk_create(rows, ignore_conflicts=True)
    return count


def _memories(exchange: str, symbols: Sequence[str]) -> Iterator[AlertMemory]:
    return AlertMemory.objects.filter(exchange=exchange, symbol__in=symbols, timeframe=str(BASE_TIMEFRAME)).iterator()


def _hits(rules: Rules, memory: Memory, forming: Candle) -> Iterator[tuple[Looked, Hit]]:
    """What the forming bar would be told for, were it closed now; nothing unless the bar before it was judged."""
    if memory.bars[-1].open_ms != forming.open_ms - BASE_TIMEFRAME.ms:
        return
    place = (forming.exchange, forming.symbol, str(BASE_TIMEFRAME))
    candles = [*window.newest(forming.exchange, forming.symbol, BASE_TIMEFRAME, LOAD_BARS - 1), forming]
    if len(candles) < 2 or candles[-2].open_ms != memory.bars[-1].open_ms:
        return
    bars = Bars.from_candles(candles)
    lines = macdv.lines(bars)
    (bar,) = trust.watched(candles, bars, lines, forming.open_ms, needs_converged=rules.needs_converged)
    if bar.blocked is None:
        looked = Looked(place, candles, bars, lines)
        yield from ((looked, hit) for hit in step(rules, standing(rules, memory), bar)[1])


@unavailable()
def _forming(exchange: str, open_ms: int) -> Mapping[str, Candle]:
    """By symbol: the preview of the bar that began at `open_ms`."""
    followed = ExchangeSymbol.objects.trading().filter(exchange=exchange, tier=1)
    names = list(followed.values_list("name", flat=True))
    pipe = state_redis().pipeline(transaction=False)
    for name in names:
        pipe.hgetall(keys.forming(exchange, name, BASE_TIMEFRAME))
    found = {}
    for name, said in zip(names, pipe.execute(), strict=True):
        if int(said.get(b"open_time", 0)) == open_ms:
            found[name] = _candle(exchange, name, {k.decode(): v.decode() for k, v in said.items()})
    return found


def _candle(exchange: str, symbol: str, said: Mapping[str, str]) -> Candle:
    prices = (Decimal(said[name]) for name in ("open", "high", "low", "close", "volume"))
    return Candle(exchange, symbol, BASE_TIMEFRAME, int(said["open_time"]), *prices, quality=Quality.PENDING)
