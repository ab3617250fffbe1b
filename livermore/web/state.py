"""The web process's asynchronous connections to the state Redis, and its hashes as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import redis.asyncio
from django.conf import settings

from exchanges.state import without_cluster_flag

TIMEOUT_S = 3.0


def texts(said: Mapping[bytes, bytes]) -> dict[str, str]:
    """A hash as Redis gives it, as text."""
    return {name.decode(): value.decode() for name, value in said.items()}


def subscriber() -> redis.asyncio.Redis:
    """A new client for one long-lived reader. In a Cluster any one node hears every `PUBLISH`."""
    address, _ = without_cluster_flag(settings.STATE_REDIS_URL)
    return redis.asyncio.Redis.from_url(
        address, decode_responses=True, socket_connect_timeout=TIMEOUT_S, socket_timeout=None
    )


def follower() -> Any:
    """A new client for reads of one stream key that block for less than `TIMEOUT_S`."""
    address, is_cluster = without_cluster_flag(settings.STATE_REDIS_URL)
    kind = redis.asyncio.RedisCluster if is_cluster else redis.asyncio.Redis
    return kind.from_url(
        address, decode_responses=True, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S
    )
