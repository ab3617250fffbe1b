"""The client of the state Redis."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from exchanges.state import delete_if, state_redis, unavailable
from livermore.core.errors import StoreUnavailable


def test_the_client_is_shared_and_answers_bytes(redis_state: redis.Redis) -> None:
    redis_state.set("k", "v")
    assert state_redis() is state_redis()
    assert state_redis().get("k") == b"v"


def test_another_address_is_another_client(redis_state: redis.Redis, settings: Any) -> None:
    before = state_redis()
    settings.STATE_REDIS_URL += "?health_check_interval=5"
    assert state_redis() is not before


def test_a_cluster_is_asked_for_by_the_address(settings: Any) -> None:
    settings.STATE_REDIS_URL = "redis://127.0.0.1:1/0?cluster=true"
    # A cluster client asks for the slots when it is made; a plain one would connect at its first command.
    with pytest.raises(StoreUnavailable), unavailable():
        state_redis()


def test_only_an_absent_redis_is_unavailable(redis_state: redis.Redis) -> None:
    with pytest.raises(redis.ResponseError), unavailable():
        state_redis().eval("return nonsense()", 0)


def test_only_what_we_wrote_is_deleted(redis_state: redis.Redis) -> None:
    redis_state.set("k", "ours")
    assert not delete_if("k", "another's")
    assert delete_if("k", "ours")
    assert not delete_if("k", "ours")
