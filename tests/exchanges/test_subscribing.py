"""What is left to say, whom to blame for a refusal, when all is served, and which answers are awaited."""

from __future__ import annotations

import random

import pytest

from exchanges.subscribing import Requests, Subscriptions
from exchanges.venue import NOTHING, Limits, Ready, Refused
from livermore.core.errors import LocalProtocolError, RemoteProtocolError
from livermore.core.trade import Nanos


def subscriptions(*natives: str, most: int = 1000) -> Subscriptions:
    return Subscriptions(Limits(most, 5, None), natives)


def test_only_the_difference_is_said_in_order_and_once() -> None:
    ours = subscriptions("A", "B", "C")
    assert (ours.drop(10), ours.add(2), ours.add(2), ours.add(2)) == ((), ("A", "B"), ("C",), ())
    ours.want(["D", "C"])
    assert (ours.drop(1), ours.drop(1), ours.drop(1)) == (("A",), ("B",), ())
    assert (ours.add(9), ours.add(9)) == (("D",), ())
    assert list(ours.told) == ["C", "D"]


def test_all_that_is_gone_is_dropped_at_once_where_no_number_is_given() -> None:
    ours = subscriptions("A", "B")
    ours.tell(["A", "B"])
    ours.want([])
    assert ours.drop() == ("A", "B")


def test_looking_for_what_is_missing_hides_nothing_that_is_to_be_dropped() -> None:
    ours = subscriptions("A", "B")
    ours.add(2)
    ours.want(["A"])
    assert ours.missing() == ()
    assert ours.add(2) == ()
    assert ours.drop(2) == ("B",)


def test_more_than_a_connection_carries_is_our_own_mistake_and_changes_nothing() -> None:
    ours = subscriptions("A", "B", most=2)
    with pytest.raises(LocalProtocolError, match="3 symbols on a connection for 2"):
        ours.want(["C", "D", "E"])
    assert list(ours.wanted) == ["A", "B"]
    with pytest.raises(LocalProtocolError):
        subscriptions("A", "B", "C", most=2)


def test_what_is_forgotten_is_missing_again() -> None:
    ours = subscriptions("A", "B")
    ours.add(2)
    assert ours.missing() == ()
    ours.forget(["A", "never told"])
    assert ours.missing() == ("A",)


def test_a_refused_native_is_wanted_again_only_after_it_was_not_wanted() -> None:
    ours = subscriptions("A", "B")
    ours.add(2)
    assert ours.refuse(["A"], "delisted") == [Refused(("A",), "delisted")]
    ours.want(["A", "B"])
    assert (list(ours.wanted), ours.drop(9), ours.add(9)) == (["B"], (), ())
    ours.want(["B"])
    ours.want(["A", "B"])
    assert ours.add(9) == ("A",)


def test_nothing_follows_from_refusing_none() -> None:
    assert subscriptions("A").refuse([], "why") == NOTHING


@pytest.mark.parametrize("seed", range(5))
def test_halving_finds_exactly_the_natives_at_fault(seed: int) -> None:
    natives = [f"N{n}" for n in range(300)]
    bad = set(random.Random(seed).sample(natives, seed))
    ours = subscriptions(*natives)
    served: list[str] = []
    blamed: list[str] = []
    asked = 0
    while group := ours.add(100):
        asked += 1
        if bad & set(group):
            blamed += [n for e in ours.doubt(group, "no") if isinstance(e, Refused) for n in e.natives]
        else:
            served += group
    assert set(blamed) == bad
    assert sorted([*served, *blamed]) == sorted(natives)
    assert asked <= 3 + 2 * 7 * len(bad)


def test_the_first_half_is_asked_before_the_second_and_both_before_the_rest() -> None:
    ours = subscriptions("A", "B", "C", "D", "E")
    assert ours.doubt(ours.add(3), "no") == NOTHING
    assert [ours.add(3) for _ in range(4)] == [("A",), ("B", "C"), ("D", "E"), ()]


def test_suspects_that_are_no_longer_wanted_or_were_told_meanwhile_are_left_in_peace() -> None:
    ours = subscriptions("A", "B", "C", "D")
    ours.doubt(ours.add(4), "no")
    ours.want(["B", "C", "D"])
    ours.tell(["C"])
    assert [ours.add(4) for _ in range(3)] == [("B",), ("D",), ()]


def test_ready_is_told_once_when_all_is_told_and_answered() -> None:
    ours = subscriptions("A")
    assert ours.readiness(is_waiting=False) == NOTHING
    ours.add(1)
    assert ours.readiness(is_waiting=True) == NOTHING
    assert ours.readiness(is_waiting=False) == [Ready()]
    assert ours.readiness(is_waiting=False) == NOTHING


def test_what_is_still_to_be_dropped_does_not_delay_ready() -> None:
    ours = subscriptions("A", "B")
    ours.add(2)
    ours.want(["A"])
    assert ours.readiness(is_waiting=False) == [Ready()]


def test_a_connection_that_is_to_carry_nothing_is_ready_and_one_that_was_refused_all_is_not() -> None:
    assert subscriptions().readiness(is_waiting=False) == [Ready()]
    refused = subscriptions("A")
    refused.refuse(refused.add(1), "no")
    assert refused.readiness(is_waiting=False) == NOTHING


def test_requests_are_numbered_from_one_and_answered_once_in_any_order() -> None:
    requests = Requests()
    assert [requests.ask("add", (n,), Nanos(5)) for n in "AB"] == [1, 2]
    second = requests.answered(2)
    assert second is not None
    assert (second.verb, second.natives, second.sent_ns) == ("add", ("B",), 5)
    assert requests.answered(2) is None
    assert requests.oldest() == 1
    requests.answered(1)
    assert requests.oldest() is None


def test_a_message_about_no_native_has_a_number_and_awaits_nothing() -> None:
    requests = Requests()
    assert requests.ask("ping", (), Nanos(0)) == 1
    assert not requests.is_open("ping")
    assert not requests.is_overdue(Nanos(100), 1)
    assert requests.answered(1) is None


@pytest.mark.parametrize("number", [-1, 0, 2, 10**30])
def test_an_answer_to_a_question_never_asked_is_impossible(number: int) -> None:
    requests = Requests()
    requests.ask("add", ("A",), Nanos(0))
    with pytest.raises(RemoteProtocolError, match="never asked"):
        requests.answered(number)


def test_open_requests_are_known_by_what_they_ask_and_how_long_they_wait() -> None:
    requests = Requests()
    number = requests.ask("add", ("A",), Nanos(100))
    assert (requests.is_open("add"), requests.is_open("drop")) == (True, False)
    assert (requests.is_overdue(Nanos(109), 10), requests.is_overdue(Nanos(110), 10)) == (False, True)
    requests.answered(number)
    assert not requests.is_open("add")
    assert not requests.is_overdue(Nanos(10**6), 10)
