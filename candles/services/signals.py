"""Fast signals: read the cross-section of each base, advance its signals, keep and tell what came of it."""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections import Counter
from collections.abc import Iterable, Mapping

from candles import publish
from candles.models import Signal as SignalRow
from candles.services import identity
from candles.services.section import STABLES, Listing, Sections
from candles.signals import leader_move
from candles.signals.event import Event, Phase
from candles.signals.lifecycle import advance
from candles.signals.state import State
from exchanges.state import delete_if, state_redis, unavailable
from livermore.core import keys
from livermore.core.symbol import Symbol
from livermore.logs import event as log_event

log = logging.getLogger(__name__)

ASK_EVERY_MS = 250
TOUCHED_WITHIN_MS = 1_000
ACTIVE_WITHIN_MS = 15_000
"""A base whose quotes did not change for so long has nothing to evaluate but its open signals."""
LOCK_MS = 10_000
STATES_LIFE_S = 3600


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
    bases.difference_update(STABLES)
    sections = Sections(now_ms) if bases else None
    return sum(_evaluate_base(base, sections) for base in sorted(bases)) if sections else 0


def _open_bases(now_ms: int) -> set[str]:
    """Older ones are remembered by nothing that could close them."""
    is_open = SignalRow.objects.exclude(phase=Phase.CLOSED).filter(opened_ms__gt=now_ms - STATES_LIFE_S * 1000)
    return set(is_open.order_by().values_list("base", flat=True).distinct())


def _evaluate_base(base: str, sections: Sections) -> int:
    token = secrets.token_hex(8)
    if not state_redis().set(keys.signal_lock(base), token, nx=True, px=LOCK_MS):
        return 0
    try:
        section = sections.of(base)
        identity.notice(section)
        events: list[Event] = []
        suppressed: Counter[str] = Counter()
        for rules in (leader_move.RULES,):
            key = keys.signal_states(rules.kind, base)
            stored = {name.decode(): text for name, text in state_redis().hgetall(key).items()}
            states = {name: State.from_dict(json.loads(text)) for name, text in stored.items()}
            done = advance(rules, states, section)
            events += done.events
            suppressed.update(map(str, done.suppressed))
            # Events first: after a crash here the same evaluation gives the same ids again.
            _keep([_finished(happening, sections.listings) for happening in done.events])
            _keep_states(key, stored, {name: json.dumps(state.to_dict()) for name, state in done.states.items()})
        _count(suppressed)
        return len(events)
    finally:
        delete_if(keys.signal_lock(base), token)  # after LOCK_MS it may be another evaluator's


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
        is_closed = happening["phase"] == Phase.CLOSED
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


def _finished(happening: Event, listings: Mapping[tuple[str, str], Listing]) -> Event:
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
