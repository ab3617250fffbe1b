"""Durable commands: run at most once, one end each; on a real Redis."""

from __future__ import annotations

import random
import threading
import time
from typing import Any

import pytest
import redis

from exchanges import control
from exchanges.control import Status, Verb
from exchanges.inbox import Inbox
from livermore.core import keys
from livermore.core.errors import InvalidInput

pytestmark = pytest.mark.usefixtures("redis_state")


def send(verb: Verb = Verb.START, wait_s: float = 30, **options: Any) -> str:
    return control.send("alpha", verb, issued_by="test", wait_s=wait_s, **options)


def read(inbox: Inbox) -> list[control.Command]:
    """All that waits: an inbox first repeats what an earlier process left, then reads on."""
    return [command for _ in range(4) for command in inbox.read()]


def test_a_command_sent_before_the_host_is_up_is_run_once_when_it_is() -> None:
    command_id = send()
    inbox = Inbox("alpha", "a")
    (command,) = read(inbox)
    assert (command.id, command.verb, command.issued_by) == (command_id, Verb.START, "test")
    assert inbox.claim(command)
    assert control.result(command_id).status is Status.ACKED
    assert inbox.finish(command, Status.DONE, "ok", symbols=3)
    done = control.result(command_id)
    assert (done.status, done.code, done.host, done.answer) == (Status.DONE, "ok", "a", {"symbols": 3})
    assert read(inbox) == []


def test_commands_are_read_in_the_order_sent() -> None:
    ids = [send(verb) for verb in (Verb.START, Verb.PAUSE, Verb.RESUME, Verb.STOP)]
    assert [command.id for command in read(Inbox("alpha", "a"))] == ids


def test_the_same_idempotency_key_is_one_execution() -> None:
    first, second = send(idempotency_key="k"), send(idempotency_key="k")
    assert first == second
    assert send(Verb.STOP, idempotency_key="k") != first
    inbox = Inbox("alpha", "a")
    claims = [inbox.claim(command) for command in read(inbox) if command.id == first]
    assert claims.count(True) == 1


def test_two_hosts_both_see_a_command_and_one_runs_it() -> None:
    send()
    inboxes = [Inbox("alpha", name) for name in "abcd"]
    found = [(inbox, command) for inbox in inboxes for command in read(inbox)]
    assert len(found) == 4
    assert [inbox.claim(command) for inbox, command in found].count(True) == 1


def test_only_the_target_sees_a_targeted_command() -> None:
    send(target="b")
    assert read(Inbox("alpha", "a")) == []
    assert len(read(Inbox("alpha", "b"))) == 1


def test_an_expired_command_never_runs_and_stays_expired() -> None:
    command_id = send(wait_s=-1)
    assert read(Inbox("alpha", "a")) == []
    found = control.result(command_id)
    assert (found.status, found.code) == (Status.EXPIRED, "timeout")


def test_a_command_that_expires_between_reading_and_claiming_is_not_run() -> None:
    inbox = Inbox("alpha", "a")
    read(inbox)
    command_id = send(wait_s=0.05)
    (command,) = read(inbox)
    assert control.await_result(command_id, 5).status is Status.EXPIRED
    assert not inbox.claim(command)
    assert not inbox.finish(command, Status.DONE, "ok")
    assert control.result(command_id).status is Status.EXPIRED


def test_a_finished_command_cannot_be_finished_again() -> None:
    send()
    inbox = Inbox("alpha", "a")
    (command,) = read(inbox)
    inbox.claim(command)
    assert inbox.finish(command, Status.FAILED, "geo", "not here")
    assert not inbox.finish(command, Status.DONE, "ok")
    assert control.result(command.id).message == "not here"


def test_what_a_dead_host_had_claimed_is_failed_and_what_it_had_read_is_read_again() -> None:
    claimed, received = send(), send(Verb.STOP)
    before = Inbox("alpha", "a")
    commands = read(before)
    before.claim(commands[0])
    after = read(Inbox("alpha", "a"))
    assert [command.id for command in after] == [received]
    assert control.result(claimed).code == "restarted"


def test_nobody_has_to_wait_for_a_command_to_get_its_end(redis_state: redis.Redis) -> None:
    unclaimed, abandoned = send(wait_s=-1), send()
    inbox = Inbox("alpha", "a")
    (command,) = read(inbox)
    inbox.claim(command)
    late_ms = time.time_ns() // 1_000_000 - control.ABANDONED_AFTER_MS - 1
    redis_state.hset(keys.command(abandoned), "deadline_ms", late_ms)
    control.settle_overdue("alpha")
    stored = [redis_state.hget(keys.command(c), "status") for c in (unclaimed, abandoned)]
    assert stored == [b"expired", b"failed"]
    assert control.settle_overdue("alpha") == 0


def test_waiting_shows_each_state_and_ends_with_the_result() -> None:
    command_id = send()
    seen: list[Status] = []
    inbox = Inbox("alpha", "a")

    def host() -> None:
        (command,) = read(inbox)
        inbox.claim(command)
        while Status.ACKED not in seen:
            time.sleep(0.01)
        inbox.finish(command, Status.DONE, "ok")

    thread = threading.Thread(target=host)

    def on_state(result: control.Result) -> None:
        seen.append(result.status)
        if len(seen) == 1:
            thread.start()

    assert control.await_result(command_id, 10, on_state).status is Status.DONE
    thread.join()
    assert seen == [Status.PENDING, Status.ACKED, Status.DONE]


def test_waiting_ends_when_its_time_is_up() -> None:
    assert control.await_result(send(wait_s=60), 0.2).status is Status.PENDING


def test_reading_starts_over_when_redis_has_lost_its_memory(redis_state: redis.Redis) -> None:
    inbox = Inbox("alpha", "a")
    read(inbox)
    redis_state.flushdb()
    command_id = send()
    assert [command.id for command in read(inbox)] == [command_id]


def test_no_hundred_random_interleavings_run_a_start_twice_or_never() -> None:
    chance = random.Random(7)
    for _ in range(100):
        key = str(chance.random())
        ids, runs = set(), []
        inboxes = [Inbox("alpha", f"h{n}") for n in range(2)]
        for _ in range(chance.randint(2, 6)):
            ids.add(send(idempotency_key=key))
            for inbox in chance.sample(inboxes, chance.randint(0, 2)):
                runs += [c.id for c in read(inbox) if c.id in ids and inbox.claim(c)]
        for inbox in inboxes:
            runs += [c.id for c in read(inbox) if c.id in ids and inbox.claim(c)]
        assert runs == list(ids)


def test_unknown_verbs_and_ids_are_named() -> None:
    with pytest.raises(InvalidInput, match="accepted: start stop pause resume reload roll"):
        Verb.parse("launch")
    with pytest.raises(InvalidInput, match="no command 'x'"):
        control.result("x")
