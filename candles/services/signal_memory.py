"""Redis: what evaluators remember of signals between evaluations: states, gates, and what was held back."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from candles.signals.evaluation import Kind
from candles.signals.event import Event, Phase
from candles.signals.state import State
from exchanges.state import delete_if, state_redis
from livermore.core import keys, signal_keys

STATES_LIFE_S = 7 * 86_400
HELD_KEPT = 2_000
LOCK_MS = 10_000


def states(kind: Kind, place: str) -> dict[str, State]:
    """By identity, of one kind at one base (`BTC`) or base and timeframe (`BTC:15m`)."""
    return states_of([kind], place)[kind]


def states_of(kinds: Sequence[Kind], place: str) -> dict[Kind, dict[str, State]]:
    """The same of several kinds, in one round trip."""
    pipe = state_redis().pipeline(transaction=False)
    for kind in kinds:
        pipe.hgetall(keys.signal_states(kind, place))
    return {
        kind: {name.decode(): State.from_dict(json.loads(text)) for name, text in stored.items()}
        for kind, stored in zip(kinds, pipe.execute(), strict=True)
    }


def keep_states(kind: Kind, place: str, before: Mapping[str, State], after: Mapping[str, State]) -> None:
    """In place of those that were read `before`; only what changed is written."""
    key, pipe = keys.signal_states(kind, place), state_redis().pipeline(transaction=False)
    gone = [name for name in before if name not in after]
    if gone:
        pipe.hdel(key, *gone)
    changed = {name: json.dumps(state.to_dict()) for name, state in after.items() if before.get(name) != state}
    if changed:
        pipe.hset(key, mapping=changed)
    if after:
        pipe.expire(key, STATES_LIFE_S)
    pipe.execute()


def active(kind: Kind, place: str) -> frozenset[str]:
    """The identities with an open event."""
    return frozenset(name for name, state in states(kind, place).items() if state.active is not None)


def take_gate(event: Event, cool_down_ms: int) -> bool:
    """Whether this event may be told: there is one open event of an identity, whoever evaluates it.

    The gate is released at close and cool-down. What has passed once passes again.
    """
    key, event_id = signal_keys.signal_active(event["identity"]), event["event_id"]
    if event["phase"] != Phase.CLOSED and state_redis().set(key, event_id, nx=True, ex=STATES_LIFE_S):
        return True
    holder = state_redis().get(key)
    if holder is not None and holder.decode() != event_id:
        return False
    if event["phase"] == Phase.CLOSED:
        state_redis().pexpire(key, max(1, cool_down_ms))
    return True


def hold(entries: Sequence[Mapping[str, Any]]) -> None:
    """Count candidates that were held back by their reason, and list the newest of them."""
    for reason, count in Counter(str(entry["reason"]) for entry in entries).items():
        state_redis().hincrby(keys.suppressed(), reason, count)
    pipe = state_redis().pipeline(transaction=False)
    for entry in entries:
        pipe.xadd(signal_keys.held_back(), {"held": json.dumps(entry)}, maxlen=HELD_KEPT, approximate=True)
    pipe.execute()


def held(limit: int) -> list[dict[str, Any]]:
    """The newest candidates that were held back, newest first."""
    found = state_redis().xrevrange(signal_keys.held_back(), count=limit)
    return [json.loads(fields[b"held"]) for _, fields in found]


def counts() -> dict[str, int]:
    """Reason → how many candidates it has held back."""
    return {reason.decode(): int(count) for reason, count in state_redis().hgetall(keys.suppressed()).items()}


def lock(place: str, token: str) -> bool:
    """Be the one evaluator of a place; ends by itself after `LOCK_MS`."""
    return bool(state_redis().set(keys.signal_lock(place), token, nx=True, px=LOCK_MS))


def unlock(place: str, token: str) -> None:
    """Unless it is another's by now."""
    delete_if(keys.signal_lock(place), token)
