"""Fast signals: read the cross-section of each base, advance its signals, keep and tell what came of it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from candles.models import Signal as Row
from candles.services import identity, signal_memory, signal_record
from candles.services.section import STABLES, Sections
from candles.signals.evaluation import Kind, Rules, Seen
from candles.signals.event import Event, Phase
from candles.signals.held import held
from candles.signals.lifecycle import advance
from candles.signals.registry import FAST, OF_STABLE_COINS
from candles.signals.section import CrossSection
from candles.signals.state import State
from exchanges.state import state_redis, unavailable
from livermore.core import keys

ASK_EVERY_MS = 250
TOUCHED_WITHIN_MS = 1_000
ACTIVE_WITHIN_MS = 15_000
"""A base whose quotes did not change for so long has nothing to evaluate but its open signals."""

Section = TypeVar("Section", bound=Seen)


@unavailable()
def should_evaluate() -> bool:
    """True at most every `ASK_EVERY_MS`, for whoever asks first."""
    return bool(state_redis().set(keys.asked(), 1, nx=True, px=ASK_EVERY_MS))


@unavailable()
def evaluate(now_ms: int, *, has_open: bool = False) -> int:
    """Evaluate every base whose quotes have just changed; how many events came.

    With `has_open` also those that changed a while ago and those of open signals: without a trade time
    passes for them, too.
    """
    since_ms = now_ms - (ACTIVE_WITHIN_MS if has_open else TOUCHED_WITHIN_MS)
    bases = {base.decode() for base in state_redis().zrangebyscore(keys.touched(), since_ms, "+inf")}
    if has_open:
        bases |= _open_bases(now_ms)
    sections = Sections(now_ms) if bases else None
    # The stable coins first: whether they are off their peg is asked by the others.
    ordered = sorted(bases, key=lambda base: (base not in STABLES, base))
    return sum(_evaluate_base(base, sections, has_open=has_open) for base in ordered) if sections else 0


def _open_bases(now_ms: int) -> set[str]:
    """Older ones are remembered by nothing that could close them."""
    since_ms = now_ms - signal_memory.STATES_LIFE_S * 1_000
    kinds = [str(rules.kind) for rules in (*FAST, *OF_STABLE_COINS)]
    is_open = Row.objects.exclude(phase=Phase.CLOSED).filter(opened_ms__gt=since_ms, kind__in=kinds, timeframe="")
    return set(is_open.order_by().values_list("base", flat=True).distinct())


def _evaluate_base(base: str, sections: Sections, *, has_open: bool) -> int:
    token = secrets.token_hex(8)
    if not signal_memory.lock(base, token):
        return 0
    try:
        section = sections.of(base)
        if base not in STABLES:
            identity.notice(section)
        told, group = 0, OF_STABLE_COINS if base in STABLES else FAST
        before = signal_memory.states_of([rules.kind for rules in group], base)
        remembered: set[str] = set()
        for rules in group:
            states, events = evaluate_kind(rules, base, section, sections, before[rules.kind])
            told += len(events)
            remembered |= {state.active.event_id for state in states.values() if state.active}
            if rules.kind is Kind.VENUE_STALE:
                section = _frozen(section, states)
        if has_open:
            told += signal_record.close_forgotten(base, [rules.kind for rules in group], remembered, section.now_ms)
        return told
    finally:
        signal_memory.unlock(base, token)  # after LOCK_MS it may be another evaluator's


def evaluate_kind(
    rules: Rules[Section], place: str, section: Section, sections: Sections, before: Mapping[str, State]
) -> tuple[dict[str, State], Sequence[Event]]:
    """Advance one kind at one place from its states before; those it has now, and the events that were told."""
    done = advance(rules, before, section)
    after = dict(done.states)
    passed = []
    for happening in done.events:
        cool_ms = rules.cool_down_ms(happening["window_s"])
        if signal_memory.take_gate(happening, cool_ms):
            passed.append(happening)
        else:
            after[happening["identity"]] = State(cool_until_ms=section.now_ms + cool_ms)
    # Events first: after a crash here the same evaluation gives the same ids again.
    told = signal_record.keep(passed, sections.listings)
    signal_memory.keep_states(rules.kind, place, before, after)
    signal_memory.hold([held(of) for of in done.held])
    return after, told


def _frozen(section: CrossSection, states: dict[str, State]) -> CrossSection:
    """The same; markets with an open VENUE_STALE say so, and nobody believes their price."""
    still = {name.split("|")[3] for name, state in states.items() if state.active is not None}
    if not still:
        return section
    markets = tuple(
        replace(m, health=replace(m.health, is_frozen=True)) if m.leg.key in still else m for m in section.markets
    )
    return replace(section, markets=markets)
