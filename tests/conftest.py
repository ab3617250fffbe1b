"""Fixtures that more than one test package uses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from exchanges.state import state_redis
from tests.support.redis_server import RedisServer

_SEEDS = pytest.StashKey[list[dict[str, Any]]]()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One real Redis for the whole run."""
    server = RedisServer.start(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def seeds(request: pytest.FixtureRequest) -> None:
    """Notes what the migrations have written before a test whose transactions are real: it ends with empty tables.

    Django itself would only run such tests last, which several processes with a part of the tests each do not.
    """
    marker = request.node.get_closest_marker("django_db")
    if "transactional_db" in request.fixturenames or (marker and marker.kwargs.get("transaction")):
        from django.db import connection

        request.getfixturevalue("transactional_db")
        made_anew = ("contenttypes.", "auth.permission", "sessions.", "admin.")  # by the flush itself
        stored = json.loads(connection.creation.serialize_db_to_string())
        request.node.stash[_SEEDS] = [row for row in stored if not row["model"].startswith(made_anew)]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Puts it back when the tables have been emptied."""
    yield
    if _SEEDS not in item.stash:
        return
    from django.core import serializers
    from django.db import transaction
    from pytest_django.plugin import blocking_manager_key

    with item.config.stash[blocking_manager_key].unblock(), transaction.atomic():
        for row in serializers.deserialize("json", json.dumps(item.stash[_SEEDS])):
            row.save()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The same tests, over a Cluster that somebody else has started and looks at."""
    parser.addoption("--state-cluster", default="", help="address of a Redis Cluster for the state, to be emptied")


def _forget() -> None:
    """What workers remember of a Redis that has been emptied by now; each in its own process would begin anew."""
    from candles.services import arrivals, ingest, section

    for memory in (arrivals._newest, arrivals._epochs, ingest._books, ingest._previews):
        memory.clear()
    section._listings.cache_clear()


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
    _forget()
    yield client
    if not on_cluster:
        client.close()
