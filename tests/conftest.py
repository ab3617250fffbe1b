"""Fixtures that more than one test package uses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from exchanges.state import state_redis
from tests.support.redis_server import RedisServer


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One real Redis for the whole run."""
    server = RedisServer.start(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The same tests, over a Cluster that somebody else has started and looks at."""
    parser.addoption("--state-cluster", default="", help="address of a Redis Cluster for the state, to be emptied")


@pytest.fixture
def redis_state(redis_server: RedisServer, settings: Any, request: pytest.FixtureRequest) -> Iterator[redis.Redis]:
    """An empty state Redis (and broker), to which the settings point; yields a client of it."""
    on_cluster = request.config.getoption("--state-cluster")
    settings.STATE_REDIS_URL = on_cluster or redis_server.state_url
    settings.CELERY_BROKER_URL = redis_server.broker_url
    # The Celery application copies its settings at first use.
    from livermore.celery import app

    app.conf.broker_url = redis_server.broker_url
    client = state_redis() if on_cluster else redis.Redis.from_url(redis_server.state_url)
    client.flushall()
    yield client
    if not on_cluster:
        client.close()
