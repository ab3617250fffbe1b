"""People who ask, and markets to ask about."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from symbols.models import ExchangeSymbol
from tests.support.redis_server import RedisServer
from tests.web.site import Site


@pytest.fixture
def trader(db: None) -> User:
    """Somebody who may read."""
    return User.objects.create_user("trader", password="correct horse battery")


@pytest.fixture
def operator(db: None) -> User:
    """Somebody who may change things."""
    return User.objects.create_user("operator", password="correct horse battery", is_staff=True)


@pytest.fixture
def browser(client: Client, trader: User, redis_state: Any) -> Client:
    """A logged-in trader's browser, with an empty state Redis behind the site."""
    client.force_login(trader)
    return client


@pytest.fixture
def markets(db: None) -> list[ExchangeSymbol]:
    """One asset at two exchanges, and another at one."""
    places = (("kucoin", "BTC", "USDT"), ("coinbase", "BTC", "USD"), ("kucoin", "ETH", "USDT"))
    return [
        ExchangeSymbol.objects.create(
            exchange_id=slug, native=f"{base}{quote}", base=base, quote=quote, tier=1, rank=rank
        )
        for rank, (slug, base, quote) in enumerate(places, start=1)
    ]


@pytest.fixture(scope="session")
def site(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A real web process over the run's Redis."""
    running = Site.start(tmp_path_factory.mktemp("site"), redis_server)
    yield running
    running.stop()
