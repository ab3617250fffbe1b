"""Signals of closed bars and of quarter hours: what is due, and the evaluation of it (design.md §8)."""

from __future__ import annotations

import secrets
from collections.abc import Iterable

from candles import ledger
from candles.services import regimes, signal_memory, standings
from candles.services.bar_section import bar_section, closes, lead_section
from candles.services.section import STABLES, Sections
from candles.services.signals import evaluate_kind
from candles.signals.evaluation import Kind
from candles.signals.registry import PER_BAR, PER_WINDOW
from exchanges.state import state_redis, unavailable
from livermore.core import keys, signal_keys
from livermore.core.candle import BASE_TIMEFRAME, BUCKET_MS, Candle, Timeframe
from livermore.core.symbol import Symbol

INDEX = "signals"
WAIT_MS = 10_000
"""A bar is evaluated when every venue has closed it, or so long after the first."""
FRESH_MS = 30 * 60_000
AT_ONCE = 200
SEEN_LIFE_S = 2 * 86_400
HOUR_MS = 3_600_000
DAY_MS = 86_400_000


@unavailable()
def note(exchange: str, candles: Iterable[Candle], now_ms: int) -> int:
    """Have evaluated, in time, what these candles of one exchange close; how many bars that may be."""
    fresh = [c for c in candles if now_ms - c.open_ms - c.timeframe.ms < FRESH_MS]
    closing = {(Symbol.parse(c.symbol).base, str(c.timeframe), c.open_ms) for c in fresh}
    bars = sorted(bar for bar in closing if bar[0] not in STABLES)
    pipe = state_redis().pipeline(transaction=False)
    for base, timeframe, open_ms in bars:
        key = signal_keys.bar_closed(base, timeframe, open_ms)
        pipe.sadd(key, exchange)
        pipe.expire(key, FRESH_MS // 1_000)
        pipe.scard(key)
        pipe.hkeys(keys.quotes(base))
    answers = iter(pipe.execute())
    for base, timeframe, open_ms in bars:
        _, _, closed, quoted = (next(answers) for _ in range(4))
        venues = {name.decode().split("|")[0] for name in quoted}
        if len(venues) < 2:
            continue
        member = f"{base}|{timeframe}|{open_ms}"
        is_complete = closed >= len(venues)
        pipe.zadd(keys.due(INDEX), {member: now_ms + (0 if is_complete else WAIT_MS)}, nx=not is_complete)
    pipe.execute()
    return len(bars)


def claim(now_ms: int) -> list[tuple[str, int]]:
    """Bars that are due, each with the lease under which it may be evaluated now."""
    return [(member, ledger.lease(now_ms)) for member in ledger.claim_members(INDEX, now_ms, AT_ONCE)]


@unavailable()
def evaluate(member: str, lease_ms: int, now_ms: int) -> int:
    """Evaluate one bar (`base|timeframe|open`); how many events came.

    An older one than the newest is left alone. One that became due again meanwhile stays due.
    """
    told = _evaluate(member, now_ms)
    if told is None:
        return 0
    ledger.settle_members(INDEX, [member], lease_ms)
    return told


def _evaluate(member: str, now_ms: int) -> int | None:
    """None while another evaluates this asset and timeframe."""
    base, name, opened = member.split("|")
    timeframe, open_ms = Timeframe(name), int(opened)
    place, token = f"{base}:{name}", secrets.token_hex(8)
    if not signal_memory.lock(place, token):
        return None
    try:
        seen = state_redis().get(signal_keys.bar_seen(base, name))
        if seen is not None and int(seen) > open_ms:
            return 0
        sections = Sections(now_ms)
        evaluated = _window if timeframe is BASE_TIMEFRAME else _bar
        told = evaluated(base, timeframe, open_ms, sections)
        state_redis().set(signal_keys.bar_seen(base, name), open_ms, ex=SEEN_LIFE_S)
        return told
    finally:
        signal_memory.unlock(place, token)


def _bar(base: str, timeframe: Timeframe, open_ms: int, sections: Sections) -> int:
    section = bar_section(base, timeframe, open_ms, sections)
    place = f"{base}:{timeframe}"
    before = signal_memory.states_of([rules.kind for rules in PER_BAR], place)
    return sum(len(evaluate_kind(rules, place, section, sections, before[rules.kind])[1]) for rules in PER_BAR)


def _window(base: str, timeframe: Timeframe, open_ms: int, sections: Sections) -> int:
    """What is usual, from the closes up to here; and who led in the last quarter hour."""
    end_ms = open_ms + BUCKET_MS
    day = closes(base, end_ms - DAY_MS, end_ms, sections)
    # A week is much to read; once an hour its quantile is new enough.
    is_hour = end_ms % HOUR_MS == 0
    standings.learn(base, day, closes(base, end_ms - 7 * DAY_MS, end_ms, sections) if is_hour else None)
    section = lead_section(base, end_ms, sections)
    told = 0
    for rules in PER_WINDOW:
        place = f"{base}:{timeframe}"
        states, events = evaluate_kind(rules, place, section, sections, signal_memory.states(rules.kind, place))
        told += len(events)
        if rules.kind is Kind.LEAD_LAG:
            is_open = {name for name, state in states.items() if state.active is not None}
            regimes.learn(base, section.leads, is_open, end_ms)
    return told
