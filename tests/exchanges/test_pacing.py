"""Pace and rotation."""

from __future__ import annotations

from decimal import Decimal

import pytest

from exchanges.pacing import SECOND, Lifetime, Pace, rotation_ns
from exchanges.venue import NOTHING, Limits, Rotate
from livermore.core.trade import Nanos


@pytest.mark.parametrize("rate", [1, 5, 8.0, Decimal(4)])
def test_a_second_never_holds_as_many_messages_as_the_limit_allows(rate: float) -> None:
    pace, sent = Pace(rate), []
    for now in range(0, 20 * SECOND, SECOND // 100):
        if pace.is_free(Nanos(now)):
            pace.spend(Nanos(now))
            sent.append(now)
    busiest = max(sum(at <= other < at + SECOND for other in sent) for at in sent)
    assert busiest <= max(1, float(rate))
    assert len(sent) >= 20 * float(rate) * 0.75


def test_asking_spends_nothing() -> None:
    pace = Pace(1)
    assert pace.is_free(Nanos(0))
    assert pace.is_free(Nanos(0))


def test_a_connection_without_a_lifetime_never_rotates() -> None:
    assert rotation_ns(Limits(10, 5, None), ["A"], Nanos(0)) is None


def test_rotation_is_late_spread_out_and_repeatable() -> None:
    limits = Limits(10, 5, 86_400)
    moments = [rotation_ns(limits, [f"COIN{n}"], Nanos(7)) for n in range(200)]
    assert moments == [rotation_ns(limits, [f"COIN{n}"], Nanos(7)) for n in range(200)]
    hours = sorted((moment - 7) / SECOND / 3600 for moment in moments if moment is not None)
    assert 20 <= hours[0] < 20.2
    assert 22.8 < hours[-1] <= 23


def test_rotation_does_not_depend_on_the_order_of_the_natives() -> None:
    limits = Limits(10, 5, 86_400)
    assert rotation_ns(limits, ["A", "B"], Nanos(0)) == rotation_ns(limits, {"B": 1, "A": 1}, Nanos(0))


def test_a_lifetime_ends_once_when_its_rotation_has_come() -> None:
    limits, lifetime = Limits(10, 5, 86_400), Lifetime()
    assert lifetime.judge(Nanos(10**18)) == NOTHING  # not open yet
    lifetime.begin(limits, ["A"], Nanos(7))
    due = rotation_ns(limits, ["A"], Nanos(7))
    assert due is not None
    assert lifetime.judge(Nanos(due - 1)) == NOTHING
    assert [type(e) for e in lifetime.judge(Nanos(due))] == [Rotate]
    assert lifetime.judge(Nanos(due)) == NOTHING


def test_a_lifetime_that_the_venue_ends_early_does_not_end_again() -> None:
    limits, lifetime = Limits(10, 5, 86_400), Lifetime()
    lifetime.begin(limits, ["A"], Nanos(0))
    assert lifetime.end("the venue goes down") == [Rotate("the venue goes down")]
    assert lifetime.end("again") == NOTHING
    assert lifetime.judge(Nanos(86_400 * SECOND)) == NOTHING
