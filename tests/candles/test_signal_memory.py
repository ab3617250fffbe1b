"""Gates, states and what was held back, in a real Redis."""

from __future__ import annotations

import pytest

from candles.services import signal_memory
from candles.signals.evaluation import Kind
from candles.signals.state import State
from livermore.core import keys, signal_keys

IDENTITY = "PRICE_GAP|BTC|a:BTC-USD|b:BTC-USD|up|0"


def event(event_id: str, phase: str = "opened") -> dict:
    return {"identity": IDENTITY, "event_id": event_id, "phase": phase, "window_s": 0}


def test_one_event_of_an_identity_is_open_and_its_repeat_passes(redis_state) -> None:
    assert signal_memory.take_gate(event("one"), 300_000)
    assert not signal_memory.take_gate(event("two"), 300_000)
    assert signal_memory.take_gate(event("one"), 300_000)
    assert signal_memory.take_gate(event("one", "updated"), 300_000)
    assert not signal_memory.take_gate(event("two", "closed"), 300_000)


def test_the_gate_is_released_at_close_and_cool_down(redis_state) -> None:
    signal_memory.take_gate(event("one"), 300_000)
    assert redis_state.ttl(signal_keys.signal_active(IDENTITY)) == signal_memory.STATES_LIFE_S
    assert signal_memory.take_gate(event("one", "closed"), 300_000)
    assert 0 < redis_state.pttl(signal_keys.signal_active(IDENTITY)) <= 300_000
    assert not signal_memory.take_gate(event("two"), 300_000)
    assert signal_memory.take_gate(event("one", "closed"), 0)
    redis_state.delete(signal_keys.signal_active(IDENTITY))
    assert signal_memory.take_gate(event("two"), 300_000)


def test_states_come_back_and_go(redis_state) -> None:
    kept = {"a": State(candidate_ms=1), "b": State(cool_until_ms=2)}
    signal_memory.keep_states(Kind.PREMIUM, "BTC", {}, kept)
    assert signal_memory.states(Kind.PREMIUM, "BTC") == kept
    signal_memory.keep_states(Kind.PREMIUM, "BTC", kept, {"b": State(cool_until_ms=2)})
    assert signal_memory.states(Kind.PREMIUM, "BTC").keys() == {"b"}
    assert 0 < redis_state.ttl(keys.signal_states("PREMIUM", "BTC")) <= signal_memory.STATES_LIFE_S
    assert signal_memory.active(Kind.PREMIUM, "BTC") == frozenset()


def test_what_was_held_back_is_counted_and_listed_newest_first(redis_state) -> None:
    signal_memory.hold([{"reason": "gap_open", "at_ms": 1}, {"reason": "gap_open", "at_ms": 2}])
    signal_memory.hold([{"reason": "warming", "at_ms": 3}])
    assert signal_memory.counts() == {"gap_open": 2, "warming": 1}
    assert [entry["at_ms"] for entry in signal_memory.held(2)] == [3, 2]


@pytest.mark.parametrize("entries", [3 * signal_memory.HELD_KEPT])
def test_the_list_is_bounded(redis_state, entries) -> None:
    signal_memory.hold([{"reason": "warming", "at_ms": n} for n in range(entries)])
    assert redis_state.xlen(signal_keys.held_back()) < 1.1 * signal_memory.HELD_KEPT
