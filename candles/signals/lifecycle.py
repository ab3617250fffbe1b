"""The life of a signal: candidate, opened, updated, closed, cooling down (signals.md §4.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar
from uuid import UUID, uuid5

from candles.signals.evaluation import Direction, Evaluation, Figures, Outcome, Rules, Seen, figures
from candles.signals.event import Event, Phase, event
from candles.signals.guards import Suppression
from candles.signals.reference import gap_bps
from candles.signals.state import Active, State

NAMESPACE = UUID("5c1e8f0a-6d5b-5b0e-9d5e-2a4c0f3b7d61")
UPDATE_PEAK_BPS = 5.0
UPDATE_MS = 10_000

IDLE = State()
Section = TypeVar("Section", bound=Seen)


class Step(NamedTuple):
    """The new state, the events to publish, and the reason to count when a candidate was held back."""

    state: State
    events: tuple[Event, ...] = ()
    suppressed: Suppression | None = None


@dataclass(frozen=True, slots=True)
class Advance:
    """The states worth keeping, the events to publish and the reasons to count, of all identities.

    `held` are the candidates that were held back, in the order of their reasons.
    """

    states: dict[str, State]
    events: tuple[Event, ...]
    suppressed: tuple[Suppression, ...]
    held: tuple[Evaluation, ...] = ()


def event_id(identity: str, onset_ms: int) -> str:
    """The same on replay, on retry and on a second evaluator."""
    return str(uuid5(NAMESPACE, f"{identity}|{onset_ms}"))


def advance(rules: Rules[Section], states: Mapping[str, State], section: Section) -> Advance:
    """One evaluation of a base for one kind: what an evaluator calls.

    `states` are those kept from the evaluation before; the caller stores what comes back in their place and
    must not let two evaluators advance the same states at once.
    """
    by_identity = {of.identity: of for of in rules.evaluate(section, states.keys())}
    kept: dict[str, State] = {}
    events: list[Event] = []
    held: list[Evaluation] = []
    suppressed: list[Suppression] = []
    for identity in dict.fromkeys([*states, *by_identity]):
        of = by_identity.get(identity)
        taken = step(rules, states.get(identity, IDLE), of, section.now_ms)
        if not taken.state.is_idle(section.now_ms):
            kept[identity] = taken.state
        events.extend(taken.events)
        if taken.suppressed is not None:
            suppressed.append(taken.suppressed)
            held += [of] if of else []
    return Advance(kept, tuple(events), tuple(suppressed), tuple(held))


def step(rules: Rules[Section], state: State, evaluation: Evaluation | None, now_ms: int) -> Step:
    """One identity, one evaluation; `evaluation` is None when a leg has disappeared."""
    if state.active is not None:
        return _follow(rules, state.active, evaluation, now_ms)
    if state.cool_until_ms is not None:
        if now_ms < state.cool_until_ms:
            return Step(State(cool_until_ms=state.cool_until_ms))
        state = replace(state, cool_until_ms=None)
    if evaluation is None:
        return Step(IDLE)
    if evaluation.suppressed is not None:
        is_new = state.suppressed != evaluation.suppressed
        return Step(State(suppressed=evaluation.suppressed), (), evaluation.suppressed if is_new else None)
    if not evaluation.holds:
        return Step(state if state.candidate_ms is not None and evaluation.stays else IDLE)
    since_ms = now_ms if state.candidate_ms is None else state.candidate_ms
    if now_ms - since_ms < rules.confirmation_ms:
        return Step(State(candidate_ms=since_ms))
    return _open(rules, evaluation, now_ms)


def _open(rules: Rules[Section], of: Evaluation, now_ms: int) -> Step:
    since = _since(of, None)
    if since is None:
        return Step(IDLE)
    onset_ms = rules.onset_ms(of)
    opened = event(of, since, Phase.OPENED, event_id(of.identity, onset_ms), onset_ms)
    entry = _entry(of)
    local_bps = of.direction.sign * gap_bps(_local(of), entry)
    active = Active(
        event_id=opened["event_id"],
        onset_ms=onset_ms,
        opened_ms=now_ms,
        before=of.before,
        entry=entry,
        peak_leader_bps=of.direction.sign * since.leader_bps,
        peak_remaining_bps=since.remaining_bps,
        told_peak_bps=since.remaining_bps,
        told_ms=now_ms,
        best_bps=local_bps,
        worst_bps=local_bps,
        seen_ms=of.local.leg.event_ms,
        event=opened,
    )
    return Step(State(active=active), (opened,))


def _follow(rules: Rules[Section], active: Active, of: Evaluation | None, now_ms: int) -> Step:
    if of is None:
        cool_ms = rules.cool_down_ms(active.event["window_s"])
        return _close(active, active.event, Outcome.INVALIDATED, now_ms, cool_ms)
    since = _since(of, active)
    active = _observe(active, of, since)
    due = rules.outcome(since, active.peak_leader_bps, now_ms - active.opened_ms, of)
    active = _ending(active, due, now_ms)
    ended = due if due and now_ms - active.ending_ms >= rules.closing_ms.get(due, 0) else None
    if ended is not None:
        last = active.event if since is None or rules.fires_once else _event(active, of, since, Phase.CLOSED)
        return _close(active, last, ended, now_ms, rules.cool_down_ms(of.window_s))
    is_higher = active.peak_remaining_bps >= active.told_peak_bps + UPDATE_PEAK_BPS
    is_news = is_higher or now_ms - active.told_ms >= UPDATE_MS
    if since is None or rules.fires_once or not is_news:
        return Step(State(active=active))
    updated = _event(active, of, since, Phase.UPDATED)
    told = replace(active, told_peak_bps=active.peak_remaining_bps, told_ms=now_ms, event=updated)
    return Step(State(active=told), (updated,))


def _ending(active: Active, due: Outcome | None, now_ms: int) -> Active:
    """Since when the same outcome has been due without a pause."""
    name = None if due is None else str(due)
    return active if active.ending == name else replace(active, ending=name, ending_ms=now_ms)


def _since(of: Evaluation, active: Active | None) -> Figures | None:
    if of.measures is not None:
        size = of.size_bps
        return None if size is None else Figures(of.direction.sign * size, 0.0, None, size)
    before = of.before if active is None else active.before
    return figures(of.now, before, of.direction) if of.now and before else None


def _event(active: Active, of: Evaluation, since: Figures, phase: Phase) -> Event:
    return event(of, since, phase, active.event_id, active.onset_ms)


def _observe(active: Active, of: Evaluation, since: Figures | None) -> Active:
    """The extremes of the moves, and of every local price since the last look."""
    seen = [price for event_ms, price in of.local.trail if event_ms > active.seen_ms]
    local_bps = [of.direction.sign * gap_bps(price, active.entry) for price in (*seen, _local(of))]
    return replace(
        active,
        peak_leader_bps=max(active.peak_leader_bps, of.direction.sign * since.leader_bps if since else 0.0),
        peak_remaining_bps=max(active.peak_remaining_bps, since.remaining_bps if since else 0.0),
        best_bps=max(active.best_bps, *local_bps),
        worst_bps=min(active.worst_bps, *local_bps),
        seen_ms=max(active.seen_ms, of.local.leg.event_ms),
    )


def _close(active: Active, last: Event, ended: Outcome, now_ms: int, cool_ms: int) -> Step:
    closed = {
        **last,
        "phase": str(Phase.CLOSED),
        "evaluated_ms": now_ms,
        "outcome": str(ended),
        "duration_ms": now_ms - active.opened_ms,
        "peak_remaining_bps": f"{active.peak_remaining_bps:z.2f}",
        "mfe_bps": f"{active.best_bps:z.2f}",
        "mae_bps": f"{active.worst_bps:z.2f}",
    }
    return Step(State(cool_until_ms=now_ms + cool_ms), (closed,))


def _local(of: Evaluation) -> float:
    return float(of.quoted[1 if of.follower else 0])


def _entry(of: Evaluation) -> float:
    """Where one could act locally: at the ask to buy, at the bid to sell, at the last price if neither."""
    leg = of.local.leg
    side = leg.ask if of.direction is Direction.UP else leg.bid
    return _local(of) if side is None else float(side)
