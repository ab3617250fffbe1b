"""Very many commands: each step of the stream is in the table, each command runs once at most and has one end."""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Iterator
from functools import partial

import pytest
import redis

from exchanges import control, errands, lease, runner
from exchanges.command import Command
from exchanges.control import Status, Verb
from exchanges.lifecycle import TABLE, Event, State
from exchanges.observed import Change
from exchanges.pilot import Pilot
from exchanges.runner import Runner
from livermore.core import keys
from tests.exchanges.test_host import World
from tests.support.scripted_stream import ScriptedStream
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("redis_state")

AT, MANY, EARLY = "alpha", 10_000, 200
SEEN = ("streaming", "connecting", "subscribing", "degraded", "backing_off")


class Witness(Runner):
    """A runner that remembers what it obeyed."""

    obeyed: Counter[str]

    def _obey(self, command: Command) -> None:
        self.obeyed[command.id] += 1
        super()._obey(command)


class Desk:
    """One exchange's runner, stepped by hand; `restart` is what a killed process and its successor do."""

    def __init__(self) -> None:
        self.world, self.obeyed, self.lives = World(), Counter[str](), 0
        self.changes: list[list[Change]] = []
        self.restart()

    def restart(self) -> None:
        self.lives += 1
        self.changes.append(self.world.changes)
        self.world.changes = []
        wiring = self.world.wiring()
        pilot = Pilot(self.world.plans[AT], "h1", lease.new_owner("h1"), wiring, self.world._locate)
        self.runner = Witness(pilot)
        self.runner.obeyed = self.obeyed

    def stepped(self, command_id: str) -> control.Result:
        """How a command stands after as many steps as it needs, a hundred at most."""
        for _ in range(100):
            self.runner.step()
            if (found := control.result(command_id)).status.is_final:
                break
        return found

    @property
    def stream(self) -> ScriptedStream | None:
        """The stream that runs now."""
        return self.world.streams[-1] if self.runner.pilot.engine is not None else None

    def edges(self) -> Iterator[Change]:
        """Every step of every life; each life begins idle."""
        for life in [*self.changes, self.world.changes]:
            before: str = State.IDLE
            for change in life:
                assert change.before == before
                before = change.state
                yield change


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """It waits for no command that is not there, and its log of ten thousand states is of no interest."""
    monkeypatch.setattr(runner, "_POLL_MS", None)
    logging.disable(logging.INFO)
    yield Desk()
    logging.disable(logging.NOTSET)


def statuses(state: redis.Redis, ids: list[str]) -> dict[str, str]:
    pipe = state.pipeline(transaction=False)
    for command_id in ids:
        pipe.hget(keys.command(command_id), "status")
    return {i: found.decode() for i, found in zip(ids, pipe.execute(), strict=True)}


def send_one(chance: random.Random, number: int) -> tuple[str, Verb]:
    """A command such as people and programs send: some late, some twice, some for a host that is not there."""
    verb = chance.choice(list(Verb))
    is_late = chance.random() < 0.05
    target = "" if verb.is_errand else chance.choice(("", "", "", "h1", "h1", "nobody"))
    key = f"k{chance.randint(0, number)}" if chance.random() < 0.1 else ""
    command_id = control.send(
        AT, verb, issued_by="test", wait_s=-1 if is_late or target == "nobody" else 600, target=target,
        idempotency_key=key,
    )  # fmt: skip
    return command_id, verb


def work(chance: random.Random, command_id: str) -> None:
    """A worker's part; where two have the message, one may do it."""
    claimed = [
        e for n in range(chance.choice((1, 1, 1, 2))) if (e := errands.claim(command_id, f"task {command_id} {n}"))
    ]
    assert len(claimed) <= 1
    for errand in claimed:
        ends = [partial(errand.done, "all"), partial(errand.failed, ValueError("no"))]
        assert chance.choice(ends)()
        assert chance.random() < 0.8 or not chance.choice(ends)()


@pytest.mark.timeout(400)
def test_ten_thousand_random_commands_take_no_edge_that_is_not_in_the_table_and_end_once_each(
    desk: Desk, redis_state: redis.Redis
) -> None:
    chance = random.Random(20261129)
    ids: dict[str, Verb] = {}
    ended: dict[str, str] = {}
    for number in range(MANY):
        command_id, verb = send_one(chance, number)
        ids[command_id] = verb
        if verb.is_errand and chance.random() < 0.9:
            work(chance, command_id)
        if number % 8 == 7:
            if desk.stream is not None and chance.random() < 0.3 and desk.runner.pilot.state is not State.PAUSED:
                desk.stream.become(chance.choice(SEEN), "by chance")
            desk.runner.step()
        if number % 1000 == 999:
            now = statuses(redis_state, list(ids))
            assert all(now[i] == status for i, status in ended.items())  # an end is for ever
            ended |= {i: status for i, status in now.items() if Status(status).is_final}
            redis_state.delete(keys.lease(AT))
            desk.restart()
    desk.runner.pilot.stop("test", "the test is over")
    until(lambda: desk.runner.step() or not redis_state.xpending(keys.control(AT), "h1")["pending"])
    for command_id, status in statuses(redis_state, list(ids)).items():
        if not Status(status).is_final:
            assert ids[command_id].is_errand
            work(chance, command_id)
            assert control.result(command_id).status.is_final
    final = statuses(redis_state, list(ids))
    assert all(final[i] == status for i, status in ended.items())
    illegal = [c for c in desk.edges() if TABLE[State(c.before)].get(Event(c.event)) != c.state]
    assert illegal == []
    assert sum(1 for _ in desk.edges()) > MANY / 10
    assert max(desk.obeyed.values()) == 1
    assert not set(desk.obeyed) & {i for i, verb in ids.items() if verb in ("backfill", "reconcile", "refresh")}
    assert {i for i, verb in ids.items() if not verb.is_errand and final[i] == "done"} <= set(desk.obeyed)
    assert not {i for i, status in final.items() if status == "expired"} & set(desk.obeyed)
    assert set(final.values()) == {"done", "failed", "expired"}


def test_two_hundred_starts_sent_before_the_host_is_up_are_executed_once_each(desk: Desk) -> None:
    sent = [control.send(AT, Verb.START, issued_by="test", wait_s=600) for _ in range(EARLY)]
    assert {control.result(command_id).status for command_id in sent} == {Status.PENDING}
    desk.restart()  # the host comes up
    desk.stepped(sent[-1])
    assert {control.result(command_id).status for command_id in sent} == {Status.DONE}
    assert desk.obeyed == dict.fromkeys(sent, 1)
    assert [change.event for change in desk.edges()].count(Event.START) == 1
    assert len(desk.world.streams) == 1


def test_two_hundred_times_a_start_from_before_its_host_is_executed_by_it_once(desk: Desk) -> None:
    for number in range(1, EARLY + 1):
        command_id = control.send(AT, Verb.START, issued_by="test", wait_s=600, idempotency_key=str(number))
        desk.restart()
        control.send(AT, Verb.START, issued_by="test", wait_s=600, idempotency_key=str(number))  # its sender, again
        assert desk.stepped(command_id).status is Status.DONE
        assert len(desk.world.streams) == number
        desk.runner.pilot.stop("test", "next")
    assert set(desk.obeyed.values()) == {1}
    assert len(desk.obeyed) == EARLY


def test_a_real_host_that_comes_up_to_two_hundred_starts_runs_each_once(redis_state: redis.Redis) -> None:
    world = World()
    sent = [control.send(AT, Verb.START, issued_by="test", wait_s=600) for _ in range(EARLY)]
    try:
        world.launch()
        until(lambda: all(control.result(command_id).status is Status.DONE for command_id in sent))
    finally:
        world.end()
    assert [change.event for change in world.changes].count("start") == 1
    assert len(world.streams) == 1
