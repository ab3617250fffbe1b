"""The states of an exchange's stream and what may follow what, as a table.

    IDLE ─start─▶ CHECKING_GEO ─allowed─▶ CONNECTING ─open─▶ SUBSCRIBING ─ready─▶ STREAMING ◀─▶ DEGRADED
      ▲              │blocked  │held          ▲    │closed, in any of these four ──┐     (something is silent)
      │              ▼         └─▶ IDLE       └─retry── BACKING_OFF ◀──────────────┘
      │           REFUSED ◀── the venue refuses
      └─flushed── DRAINING ◀─ stop (any state but IDLE), lost (whoever holds the lease)

A loop of crashes leads from whatever holds the lease, but for PAUSED, to DEGRADED: the rest between two tries.
PAUSED keeps the lease and no socket, so `resume` leads to CONNECTING and not straight to STREAMING.
A state that does not list an event forbids it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from enum import StrEnum

from livermore.core.errors import LocalProtocolError


class State(StrEnum):
    """Where an exchange's stream is."""

    IDLE = "idle"
    CHECKING_GEO = "checking_geo"
    CONNECTING = "connecting"
    SUBSCRIBING = "subscribing"
    STREAMING = "streaming"
    DEGRADED = "degraded"  # streaming, but something is silent; or our code crashes in a loop and rests in between
    BACKING_OFF = "backing_off"
    PAUSED = "paused"
    REFUSED = "refused"  # final until someone starts it again
    DRAINING = "draining"


class Event(StrEnum):
    """What moves a stream from one state to the next."""

    START = "start"
    ALLOWED = "allowed"
    BLOCKED = "blocked"
    HELD = "held"  # another host has the lease
    OPEN = "open"
    READY = "ready"
    SILENT = "silent"
    RECOVERED = "recovered"
    CRASHING = "crashing"  # our own code, again and again
    CLOSED = "closed"
    RETRY = "retry"
    REFUSED = "refused"
    PAUSE = "pause"
    RESUME = "resume"
    LOST = "lost"  # the lease is no longer ours
    STOP = "stop"
    FLUSHED = "flushed"


_HOLDS_LEASE = {Event.STOP: State.DRAINING, Event.LOST: State.DRAINING}
_HAS_SOCKETS = {
    **_HOLDS_LEASE,
    Event.CLOSED: State.BACKING_OFF,
    Event.REFUSED: State.REFUSED,
    Event.PAUSE: State.PAUSED,
    Event.CRASHING: State.DEGRADED,
}

TABLE: Mapping[State, Mapping[Event, State]] = {
    State.IDLE: {Event.START: State.CHECKING_GEO},
    State.CHECKING_GEO: {
        Event.ALLOWED: State.CONNECTING,
        Event.BLOCKED: State.REFUSED,
        Event.HELD: State.IDLE,
        Event.STOP: State.DRAINING,
    },
    State.CONNECTING: {**_HAS_SOCKETS, Event.OPEN: State.SUBSCRIBING},
    State.SUBSCRIBING: {**_HAS_SOCKETS, Event.READY: State.STREAMING},
    State.STREAMING: {**_HAS_SOCKETS, Event.SILENT: State.DEGRADED},
    State.DEGRADED: {**_HAS_SOCKETS, Event.RECOVERED: State.STREAMING},
    State.BACKING_OFF: {
        **_HOLDS_LEASE,
        Event.RETRY: State.CONNECTING,
        Event.REFUSED: State.REFUSED,
        Event.PAUSE: State.PAUSED,
        Event.CRASHING: State.DEGRADED,
    },
    State.PAUSED: {**_HOLDS_LEASE, Event.RESUME: State.CONNECTING},
    State.REFUSED: {Event.START: State.CHECKING_GEO, Event.STOP: State.DRAINING},
    State.DRAINING: {Event.FLUSHED: State.IDLE},
}

OBSERVED = frozenset(
    {Event.OPEN, Event.READY, Event.SILENT, Event.RECOVERED, Event.CLOSED, Event.RETRY, Event.REFUSED}
)
"""The events that a running stream brings about by itself; all others are decisions of its host."""

IS_LIVE = frozenset({State.STREAMING, State.DEGRADED})
"""Trades flow."""

HOLDS_LEASE = frozenset(state for state, row in TABLE.items() if Event.LOST in row)
"""The host has the exchange's lease in these states."""


def after(state: State, event: Event) -> State:
    """The next state; raises `LocalProtocolError` when the table has no such edge."""
    try:
        return TABLE[state][event]
    except KeyError:
        raise LocalProtocolError(f"{event} is not possible while {state}") from None


def route(state: State, target: State) -> tuple[Event, ...]:
    """The shortest series of observed events from `state` to `target`; empty when already there.

    A stream that is looked at now and then may have passed several states in between. Raises
    `LocalProtocolError` when no observed events lead there.
    """
    paths: deque[tuple[State, tuple[Event, ...]]] = deque([(state, ())])
    seen = {state}
    while paths:
        here, path = paths.popleft()
        if here is target:
            return path
        for event, following in TABLE[here].items():
            if event in OBSERVED and following not in seen:
                seen.add(following)
                paths.append((following, (*path, event)))
    raise LocalProtocolError(f"a stream cannot get from {state} to {target} by itself")
