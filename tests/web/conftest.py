"""People who ask, and markets to ask about."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from symbols.models import ExchangeSymbol


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
