"""The lifecycle table: every row is walked, every missing one raises."""

from __future__ import annotations

import itertools
import random

import pytest

from exchanges.lifecycle import HOLDS_LEASE, OBSERVED, TABLE, Event, State, after, route
from livermore.core.errors import LocalProtocolError

ROWS = [(state, event, following) for state, row in TABLE.items() for event, following in row.items()]
MISSING = [pair for pair in itertools.product(State, Event) if pair[1] not in TABLE[pair[0]]]


@pytest.mark.parametrize(("state", "event", "following"), ROWS)
def test_every_row_leads_where_it_says(state: State, event: Event, following: State) -> None:
    assert after(state, event) is following


@pytest.mark.parametrize(("state", "event"), MISSING)
def test_every_missing_row_raises(state: State, event: Event) -> None:
    with pytest.raises(LocalProtocolError, match=f"{event} is not possible while {state}"):
        after(state, event)


def test_the_design_is_in_the_table() -> None:
    path = [Event.START, Event.ALLOWED, Event.OPEN, Event.READY, Event.CLOSED, Event.RETRY, Event.OPEN]
    path += [Event.READY, Event.SILENT, Event.RECOVERED, Event.PAUSE, Event.RESUME, Event.STOP, Event.FLUSHED]
    state = State.IDLE
    visited = []
    for event in path:
        state = after(state, event)
        visited.append(str(state))
    assert visited == [
        *("checking_geo", "connecting", "subscribing", "streaming", "backing_off", "connecting", "subscribing"),
        *("streaming", "degraded", "streaming", "paused", "connecting", "draining", "idle"),
    ]


def test_every_state_is_reachable_and_can_be_stopped() -> None:
    reached = {State.IDLE} | {following for _, _, following in ROWS}
    assert reached == set(State)
    for state in set(State) - {State.IDLE, State.DRAINING}:
        assert after(after(state, Event.STOP), Event.FLUSHED) is State.IDLE


def test_ten_thousand_random_events_never_take_an_edge_that_is_not_in_the_table() -> None:
    chance = random.Random(20261122)
    state, taken, refused = State.IDLE, 0, 0
    for _ in range(10_000):
        event = chance.choice(list(Event))
        before = state
        try:
            state = after(state, event)
            taken += 1
            assert (before, event, state) in ROWS
        except LocalProtocolError:
            refused += 1
            assert state is before
            assert (before, event) in MISSING
    assert taken > 900
    assert refused > 1_000


def test_a_stream_seen_late_is_led_through_the_states_it_passed() -> None:
    assert route(State.CONNECTING, State.STREAMING) == (Event.OPEN, Event.READY)
    assert route(State.STREAMING, State.SUBSCRIBING) == (Event.CLOSED, Event.RETRY, Event.OPEN)
    assert route(State.SUBSCRIBING, State.DEGRADED) == (Event.READY, Event.SILENT)
    assert route(State.STREAMING, State.STREAMING) == ()


def test_a_stream_never_starts_or_stops_itself() -> None:
    for state in (State.IDLE, State.PAUSED, State.DRAINING):
        assert not OBSERVED & set(TABLE[state])
        with pytest.raises(LocalProtocolError, match="by itself"):
            route(state, State.STREAMING)


def test_the_lease_is_held_from_the_first_connection_to_the_last() -> None:
    assert {State.CONNECTING, State.STREAMING, State.PAUSED, State.BACKING_OFF} <= HOLDS_LEASE
    assert not HOLDS_LEASE & {State.IDLE, State.CHECKING_GEO, State.REFUSED, State.DRAINING}
