"""M58: the shared pool has its history without any user; a symbol that a user adds has it as soon as it is streamed."""

from __future__ import annotations

import base64
import json

import pytest
import redis
from django.contrib.auth import get_user_model

from candles import tasks, window
from candles.services.history import BARS
from exchanges.models import Exchange
from exchanges.services import rest
from exchanges.simulation.stage import Options
from livermore.core import keys
from livermore.core.candle import Timeframe
from symbols import services as symbols
from symbols import tier1
from symbols.models import ExchangeSymbol
from tests.support.simulation import simulated

AT = "coinbase"
pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def market():
    with simulated(AT, is_paused=True, has_episodes=False, options=Options(weight_limit=1_000_000)) as running:
        yield running


@pytest.fixture
def broker(market, redis_state, settings):
    settings.EXCHANGE_ENDPOINTS = market.endpoints
    Exchange.objects.filter(pk=AT).update(rest_weight=1_000_000, tier1_size=3)
    symbols.sync(AT, rest(AT))
    tier1.refresh(AT, rest(AT))
    with redis.Redis.from_url(settings.CELERY_BROKER_URL) as client:
        yield client


def work(broker: redis.Redis) -> None:
    """What the workers io and candles do with what waits for them."""
    for queue, task in ((f"backfill.{AT}", tasks.load_history), ("candles", tasks.compute_indicators)):
        while (message := broker.rpop(queue)) is not None:
            args, *_ = json.loads(base64.b64decode(json.loads(message)["body"]))
            task(*args)


def bars(name: str) -> dict[str, int]:
    return {str(t): len(window.newest(AT, name, t, 1_000)) for t in Timeframe}


def test_every_symbol_of_tier_1_has_its_bars_and_indicators_without_any_user(broker, redis_state):
    pool = list(ExchangeSymbol.objects.filter(exchange_id=AT).tier1().values_list("name", flat=True))
    assert len(pool) == 3
    assert not get_user_model().objects.exists()
    tasks.stream_started(AT, symbols.streamed_names(AT).values())
    work(broker)
    for name in pool:
        assert bars(name) == {str(t): BARS for t in Timeframe}
        for timeframe in Timeframe:
            value = json.loads(redis_state.get(keys.indicator(AT, name, timeframe, "macdv")))
            assert value["ready"], (name, timeframe)


def test_a_symbol_that_a_user_adds_is_streamed_and_gets_its_bars(broker):
    before = symbols.streamed_names(AT)
    wanted = ExchangeSymbol.objects.filter(exchange_id=AT, is_trading=True, tier=None).exclude(name__in=before.values())
    symbols.follow(get_user_model().objects.create(username="ann"), row := wanted.order_by("rank").first())
    newcomers = symbols.streamed_names(AT).items() - before.items()
    assert newcomers == {(row.native, row.name)}  # the engine tells these (tests/exchanges/test_engine.py)
    tasks.stream_started(AT, [name for _, name in newcomers])
    work(broker)
    assert min(bars(row.name).values()) >= 100
