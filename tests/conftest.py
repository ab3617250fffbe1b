"""Fixtures that more than one test package uses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from tests.support.redis_server import RedisServer


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One real Redis for the whole run."""
    server = RedisServer.start(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def redis_state(redis_server: RedisServer, settings: Any) -> Iterator[redis.Redis]:
    """An empty state Redis (and broker), to which the settings point; yields a client of it."""
    settings.STATE_REDIS_URL = redis_server.state_url
    settings.CELERY_BROKER_URL = redis_server.broker_url
    # The Celery application copies its settings at first use.
    from livermore.celery import app

    app.conf.broker_url = redis_server.broker_url
    client = redis.Redis.from_url(redis_server.state_url)
    client.flushall()
    yield client
    client.close()
