"""The lease: one holder, by compare, with a rising epoch; on a real Redis."""

from __future__ import annotations

import contextlib
import threading

import pytest
import redis

from exchanges import lease
from exchanges.lease import LeaseHeld
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


def test_a_redis_that_is_away_is_a_transient_error(settings) -> None:
    settings.STATE_REDIS_URL = "redis://127.0.0.1:1/0"
    with pytest.raises(StoreUnavailable, match="does not answer"):
        lease.holder("alpha")
