"""The web process's asynchronous connections to the state Redis, and its hashes as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import redis.asyncio
from django.conf import settings

TIMEOUT_S = 3.0


def texts(said: Mapping[bytes, bytes]) -> dict[str, str]:
    """A hash as Redis gives it, as text."""
    return {name.decode(): value.decode() for name, value in said.items()}


def subscriber() -> redis.asyncio.Redis:
    """A new client for one long-lived reader. In a Cluster any one node hears every `PUBLISH`."""
    address, _ = _split(settings.STATE_REDIS_URL)
    return redis.asyncio.Redis.from_url(
        address, decode_responses=True, socket_connect_timeout=TIMEOUT_S, socket_timeout=None
    )


def follower() -> Any:
    """A new client for reads of one stream key that block for less than `TIMEOUT_S`."""
    address, is_cluster = _split(settings.STATE_REDIS_URL)
    kind = redis.asyncio.RedisCluster if is_cluster else redis.asyncio.Redis
    return kind.from_url(
        address, decode_responses=True, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S
    )


def _split(url: str) -> tuple[str, bool]:
    """The address without our own `cluster` parameter, and whether it asked for a Cluster."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    is_cluster = query.pop("cluster", "").lower() in {"1", "true", "yes"}
    return urlunsplit(parts._replace(query=urlencode(query))), is_cluster
