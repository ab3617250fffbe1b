"""The lease: one holder, by compare, with a rising epoch; on a real Redis."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from exchanges import lease, lifeline
from exchanges.lease import LeaseHeld
from exchanges.lifeline import Lifeline
from livermore.core import keys
from livermore.core.errors import StoreUnavailable

pytestmark = pytest.mark.usefixtures("redis_state")


def test_the_holder_is_visible_with_owner_and_epoch(redis_state: redis.Redis) -> None:
    held = lease.acquire("alpha", "a/1")
    assert held.epoch == 1
    assert redis_state.get(keys.lease("alpha")) == b"a/1|1"
    assert lease.holder("alpha") == held
    assert held.host == "a"
    assert lease.holder("beta") is None


def test_a_held_lease_is_refused_and_names_its_holder() -> None:
    lease.acquire("alpha", "a/1")
    with pytest.raises(LeaseHeld, match="alpha is held by host a, epoch 1"):
        lease.acquire("alpha", "b/1")


def test_a_refused_attempt_draws_no_epoch(redis_state: redis.Redis) -> None:
    lease.acquire("alpha", "a/1")
    with pytest.raises(LeaseHeld):
        lease.acquire("alpha", "b/1")
    assert redis_state.get(keys.epoch("alpha")) == b"1"


def test_two_hosts_of_the_same_name_never_share() -> None:
    first, second = lease.new_owner("box"), lease.new_owner("box")
    lease.acquire("alpha", first)
    with pytest.raises(LeaseHeld):
        lease.acquire("alpha", second)


def test_the_epoch_rises_with_every_holder() -> None:
    first = lease.acquire("alpha", "a/1")
    assert lease.release(first)
    assert lease.acquire("alpha", "b/1").epoch == 2


def test_renewing_extends_and_a_foreign_lease_is_never_renewed_or_released(redis_state: redis.Redis) -> None:
    old = lease.acquire("alpha", "a/1")
    redis_state.pexpire(keys.lease("alpha"), 5_000)
    assert lease.renew(old)
    assert redis_state.pttl(keys.lease("alpha")) > 25_000
    redis_state.delete(keys.lease("alpha"))
    new = lease.acquire("alpha", "b/1")
    assert not lease.renew(old)
    assert not lease.release(old)
    assert lease.holder("alpha") == new


def test_an_expired_lease_that_nobody_took_is_taken_back_with_its_epoch(redis_state: redis.Redis) -> None:
    held = lease.acquire("alpha", "a/1")
    redis_state.delete(keys.lease("alpha"))
    assert lease.renew(held)
    assert lease.holder("alpha") == held


def test_an_expired_lease_is_not_taken_back_after_someone_else_had_it(redis_state: redis.Redis) -> None:
    old = lease.acquire("alpha", "a/1")
    redis_state.delete(keys.lease("alpha"))
    lease.release(lease.acquire("alpha", "b/1"))
    assert not lease.renew(old)
    assert lease.holder("alpha") is None


def test_after_a_flush_the_next_holder_still_has_a_higher_epoch(redis_state: redis.Redis) -> None:
    redis_state.set(keys.epoch("alpha"), 6)
    held = lease.acquire("alpha", "a/1")
    redis_state.flushdb()
    assert lease.renew(held)
    lease.release(held)
    assert lease.acquire("alpha", "b/1").epoch == held.epoch + 1


def test_of_many_at_once_exactly_one_wins() -> None:
    won: list[int] = []
    barrier = threading.Barrier(8)

    def compete(number: int) -> None:
        barrier.wait()
        with contextlib.suppress(LeaseHeld):
            won.append(lease.acquire("alpha", f"h{number}/1").epoch)

    threads = [threading.Thread(target=compete, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [1]


# ---- dead holders --------------------------------------------------------------------------------

HOLD = """
import sys, time
import django
django.setup()
from exchanges.lifeline import Lifeline
Lifeline(sys.argv[1]).hold()
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def leases(tmp_path: Path, settings: Any) -> Path:
    """The folder of the lifelines."""
    settings.VAR_DIR = tmp_path
    return tmp_path / "leases"


@pytest.fixture
def process(leases: Path) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Starts a process that lives as an owner."""
    running: list[subprocess.Popen[bytes]] = []

    def start(owner: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "livermore.settings"}
        environment["LIVERMORE_VAR"] = str(leases.parent)
        running.append(
            subprocess.Popen([sys.executable, "-c", HOLD, owner], env=environment, stdout=subprocess.PIPE)
        )
        assert running[-1].stdout.readline() == b"held\n"
        return running[-1]

    yield start
    for each in running:
        each.kill()
        each.communicate()


def dead(owner: str) -> None:
    """What the kernel leaves of an owner that was killed: its file without the lock."""
    line = Lifeline(owner)
    line.hold()
    os.close(line._descriptor)


def test_a_killed_holder_is_succeeded_at_once_and_a_living_one_is_never_robbed(process, redis_state) -> None:
    holding = process("a/1")
    old = lease.acquire("alpha", "a/1")
    for _ in range(20):
        with pytest.raises(LeaseHeld):
            lease.acquire("alpha", "b/1")
    holding.kill()
    holding.wait()
    began = time.monotonic()
    new = lease.acquire("alpha", "b/1")
    assert time.monotonic() - began < 10
    assert (new.owner, new.epoch) == ("b/1", old.epoch + 1)
    assert redis_state.pttl(keys.lease("alpha")) > 25_000
    assert not lease.renew(old)
    assert not lease.release(old)


def test_a_holder_on_another_machine_is_never_robbed(leases: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lease.acquire("alpha", "far/1")
    with pytest.raises(LeaseHeld):  # no lifeline here
        lease.acquire("alpha", "b/1")
    dead("near/1")
    assert lifeline.is_dead("near/1")
    monkeypatch.setattr(lifeline, "_boot", lambda: "another boot")  # a folder that two machines share
    assert not lifeline.is_dead("near/1")


def test_a_copied_folder_makes_nobody_look_dead(leases: Path, tmp_path: Path, settings: Any) -> None:
    lease.acquire("alpha", "a/1")
    line = Lifeline("a/1")
    line.hold()
    shutil.copytree(leases, tmp_path / "copy" / "leases")
    settings.VAR_DIR = tmp_path / "copy"
    with pytest.raises(LeaseHeld):
        lease.acquire("alpha", "b/1")
    line.let_go()


def test_an_owner_that_began_no_lock_or_ended_in_order_does_not_look_dead(leases: Path) -> None:
    leases.mkdir()
    (leases / "a@1.lock").touch()
    assert not lifeline.is_dead("a/1")
    line = Lifeline("b/1")
    line.hold()
    assert (leases / "b@1.lock").exists()
    line.let_go()
    assert not lifeline.is_dead("b/1")
    assert not (leases / "b@1.lock").exists()


def test_without_a_usable_folder_an_owner_lives_without(leases: Path) -> None:
    leases.write_text("a file where the folder should be")
    line = Lifeline("a/1")
    line.hold()
    line.touch()
    line.let_go()
    assert not lifeline.is_dead("a/1")


def test_of_many_successors_exactly_one_wins(leases: Path) -> None:
    dead("a/1")
    lease.acquire("alpha", "a/1")
    won: list[int] = []
    refused: list[str] = []
    barrier = threading.Barrier(8)

    def compete(number: int) -> None:
        line = Lifeline(f"h{number}/1")
        line.hold()
        barrier.wait()
        try:
            won.append(lease.acquire("alpha", f"h{number}/1").epoch)
        except LeaseHeld as error:
            refused.append(error.lease.owner)
        barrier.wait()
        line.let_go()

    threads = [threading.Thread(target=compete, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [2]
    assert len(refused) == 7
    assert "a/1" not in refused


def test_a_lease_that_a_dead_owner_half_acquired_is_taken(leases: Path, redis_state: redis.Redis) -> None:
    dead("a/1")
    redis_state.set(keys.lease("alpha"), "a/1|0", px=30_000)
    assert lease.acquire("alpha", "b/1").epoch == 1


def test_what_the_dead_left_long_ago_is_swept_and_the_living_stay(leases: Path) -> None:
    dead("old/1")
    dead("new/1")
    living = Lifeline("living/1")
    living.hold()
    long_ago = time.time() - lifeline.SWEPT_AFTER_S - 1
    for name in ("old@1.lock", "living@1.lock"):
        os.utime(leases / name, (long_ago, long_ago))
    another = Lifeline("another/1")
    another.hold()
    assert {path.name for path in leases.iterdir()} == {"new@1.lock", "living@1.lock", "another@1.lock"}
    living.touch()
    assert (leases / "living@1.lock").stat().st_mtime > long_ago + 1
    living.let_go()
    another.let_go()


def test_a_redis_that_is_away_is_a_transient_error(settings) -> None:
    settings.STATE_REDIS_URL = "redis://127.0.0.1:1/0"
    with pytest.raises(StoreUnavailable, match="does not answer"):
        lease.holder("alpha")
