"""The connection to the state Redis, and the one door where its failures become ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from django.conf import settings
from redis import Redis, exceptions
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from exchanges.cluster import StateCluster
from livermore.core.errors import StoreUnavailable

SOCKET_TIMEOUT_S = 3.0
_DELETE_IF = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""
_UNREACHABLE = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.ReadOnlyError,
    exceptions.ClusterDownError,
    exceptions.RedisClusterException,
)


def state_redis() -> Any:
    """The process's client of `STATE_REDIS_URL`: `Redis`, or `StateCluster` for `…?cluster=true`.

    Answers are bytes. It is shared by threads and connects at its first command. Wrap uses in
    `unavailable()` so that callers see `StoreUnavailable`.
    """
    return _client(settings.STATE_REDIS_URL)


def servers() -> list[Any]:
    """A plain client of each server that holds the state: who listens is known only to the one he is connected to."""
    client = state_redis()
    if not isinstance(client, StateCluster):
        return [client]
    return [client.get_redis_connection(node) for node in client.get_nodes()]


@contextmanager
def unavailable() -> Iterator[None]:
    """Raises `StoreUnavailable` where the block could not reach Redis; also a decorator."""
    try:
        yield
    except _UNREACHABLE as error:
        raise StoreUnavailable(f"the state Redis does not answer: {error}") from error


@unavailable()
def delete_if(key: str, value: str) -> bool:
    """Delete what we wrote, in one step; False when the key is gone or somebody else's by now."""
    return bool(state_redis().eval(_DELETE_IF, 1, key, value))


@lru_cache(maxsize=4)
def _client(url: str) -> Any:
    address, is_cluster = without_cluster_flag(url)
    # One quick retry bridges a connection that the server closed while it lay idle in the pool.
    options = {
        "socket_timeout": SOCKET_TIMEOUT_S,
        "socket_connect_timeout": SOCKET_TIMEOUT_S,
        "retry": Retry(ExponentialBackoff(cap=0.2, base=0.05), 1),
        "health_check_interval": 30,
    }
    return StateCluster.from_url(address, **options) if is_cluster else Redis.from_url(address, **options)


def without_cluster_flag(url: str) -> tuple[str, bool]:
    """The address without our own `cluster` parameter, and whether it asks for a Cluster."""
    parts = urlsplit(url)
    query = parse_qsl(parts.query)
    is_cluster = any(name == "cluster" and value.lower() in ("1", "true", "yes") for name, value in query)
    rest = urlencode([(name, value) for name, value in query if name != "cluster"])
    return urlunsplit(parts._replace(query=rest)), is_cluster
