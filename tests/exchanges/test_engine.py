"""The stream of one exchange follows its symbols, and who comes later is told as the first ones were."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exchanges.engine import Engine
from exchanges.running import Wiring
from exchanges.venue import Limits
from livermore.core.errors import StoreUnavailable
from tests.exchanges.test_host import plan
from tests.support.scripted_stream import ScriptedStream

FIRST = {"AB": "A-B", "CB": "C-B"}


class Told:
    """What an engine asks of the world; `broker` may be away."""

    def __init__(self) -> None:
        self.started: list[tuple[str, ...]] = []
        self.is_broker_away = False

    def engine(self) -> Engine:
        wiring = Wiring(
            plans=dict, universe=lambda slug: {}, sync=lambda _: None, locate=lambda: None,
            stream=lambda wanted, names, epoch: ScriptedStream(names, epoch), started=self._started,
        )  # fmt: skip
        return Engine(wiring, plan(), FIRST, 1)

    def _started(self, slug: str, names: tuple[str, ...]) -> None:
        if self.is_broker_away:
            raise StoreUnavailable("the broker does not answer")
        self.started.append(names)


@pytest.fixture
def told() -> Told:
    return Told()


def test_a_symbol_that_is_followed_later_is_told_once(told: Told) -> None:
    """M58: its chart needs history, too, and nobody restarts a stream for it."""
    engine = told.engine()
    for _ in range(2):
        engine.refresh(plan(), FIRST | {"NB": "N-B"})
    assert told.started == [("N-B",)]


def test_one_that_leaves_is_not_told_and_one_that_comes_back_is(told: Told) -> None:
    engine = told.engine()
    engine.refresh(plan(), {"AB": "A-B"})
    assert told.started == []
    engine.refresh(plan(), FIRST)
    assert told.started == [("C-B",)]


def test_newcomers_that_come_with_other_limits_are_told(told: Told) -> None:
    engine = told.engine()
    engine.refresh(replace(plan(), limits=Limits(5, 5.0, None)), FIRST | {"NB": "N-B"})
    assert told.started == [("N-B",)]


def test_what_the_broker_did_not_take_is_told_with_the_next_refresh(told: Told) -> None:
    engine = told.engine()
    told.is_broker_away = True
    engine.refresh(plan(), FIRST | {"NB": "N-B"})
    told.is_broker_away = False
    engine.refresh(plan(), FIRST | {"NB": "N-B", "OB": "O-B"})
    assert told.started == [("N-B", "O-B")]
