"""The tasks and commands that keep symbols up to date, against simulated venues and a real Redis."""

from __future__ import annotations

import asyncio
import importlib
import json
import threading

import pytest
import redis
from django.apps import apps
from django.core.management import CommandError, call_command
from django_celery_beat.models import PeriodicTask

from exchanges import services as exchange_services
from exchanges.models import Exchange
from exchanges.simulator import Simulation
from livermore.core import keys
from symbols import services, tasks
from symbols.models import ExchangeSymbol


@pytest.fixture
def venues(settings, redis_state):
    """Two simulated venues, to which the settings point."""
    ready, done = threading.Event(), threading.Event()

    async def serve():
        # On a day on which BTC leads both; the seed alone does not settle that, the market's day does too.
        market = Simulation(["binance", "coinbase"], is_paused=True, start_ms=1_790_000_000_000)
        async with market as simulation:
            settings.EXCHANGE_ENDPOINTS = simulation.endpoints
            ready.set()
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    assert ready.wait(20)
    yield
    done.set()
    thread.join(10)


def run(capsys, *arguments):
    call_command(*arguments)
    return capsys.readouterr().out


@pytest.mark.django_db
@pytest.mark.parametrize("slug", ["binance", "coinbase"])
def test_the_commands_fill_the_table_and_tier_1_from_a_venue(slug, venues, capsys):
    said = run(capsys, "sync_symbols", slug)
    listed = ExchangeSymbol.objects.filter(exchange_id=slug).count()
    assert said.startswith(f"{slug}: {listed} listed, ")
    assert listed > 0
    said = run(capsys, "refresh_tier1", slug)
    first = ExchangeSymbol.objects.get(exchange_id=slug, rank=1)
    assert first.base == "BTC"
    assert first.tier == 1
    assert first.name in services.streamed_names(slug).values()
    assert f"{slug}: {ExchangeSymbol.objects.tier1().count()} in Tier 1" in said


@pytest.mark.django_db
def test_the_tasks_do_the_same(venues):
    tasks.sync("binance")
    tasks.refresh_tier1("binance")
    assert ExchangeSymbol.objects.tier1().filter(exchange_id="binance").exists()


@pytest.mark.django_db
@pytest.mark.parametrize("task", [tasks.sync, tasks.refresh_tier1])
def test_beat_asks_only_for_exchanges_that_stream(task, redis_state, redis_server):
    redis_state.hset(keys.stream("coinbase"), mapping={"state": "streaming"})
    redis_state.hset(keys.stream("binance"), mapping={"state": "idle"})
    Exchange.objects.filter(slug="mexc").update(enabled=False)
    redis_state.hset(keys.stream("mexc"), mapping={"state": "streaming"})
    task()
    with redis.Redis.from_url(redis_server.broker_url) as broker:
        queued = [json.loads(message)["headers"] for message in broker.lrange("default", 0, -1)]
    assert [(h["task"], h["argsrepr"]) for h in queued] == [(task.name, "('coinbase',)")]


@pytest.mark.django_db
def test_without_a_name_and_without_a_stream_nobody_is_contacted(redis_state, capsys):
    assert "No exchange streams" in run(capsys, "sync_symbols")


@pytest.mark.django_db
@pytest.mark.parametrize("command", ["sync_symbols", "refresh_tier1"])
@pytest.mark.parametrize(("name", "said"), [("nope", "accepted: binance"), ("mexc", "disabled")])
def test_an_unknown_or_disabled_exchange_exits_6_with_one_line(command, name, said):
    Exchange.objects.filter(slug="mexc").update(enabled=False)
    with pytest.raises(CommandError, match=said) as caught:
        call_command(command, name)
    assert caught.value.returncode == 6
    assert "\n" not in str(caught.value)


@pytest.mark.django_db
def test_geography_refuses_before_anything_is_asked_and_names_the_alternative(settings):
    settings.LIVERMORE_REGION = "US-CA"
    with pytest.raises(CommandError, match="binance_us") as caught:
        call_command("sync_symbols", "binance")
    assert caught.value.returncode == 3


@pytest.mark.django_db
def test_the_rest_goes_to_the_address_of_the_row_unless_the_environment_names_another(settings):
    settings.LIVERMORE_REGION = "US-CA"
    assert exchange_services.usable("binance_us").endpoint().rest == "https://api.binance.us"
    settings.EXCHANGE_ENDPOINTS = {"binance_us": {"rest": "http://127.0.0.1:9/"}}
    row = exchange_services.usable("binance_us")
    assert row.endpoint().rest == "http://127.0.0.1:9"
    assert row.endpoint().ws == row.ws_url
    assert row.is_endpoint_overridden


@pytest.mark.django_db
def test_beats_schedules_are_seeded_with_the_names_of_the_tasks():
    seeded = {p.name: (p.task, str(p.interval), p.expire_seconds) for p in PeriodicTask.objects.all()}
    assert seeded["candles.sweep"] == ("candles.sweep", "every 2 seconds", 2)
    assert seeded["signals.sweep"] == ("signals.sweep", "every 2 seconds", 2)
    assert seeded["symbols.sync"][:2] == (tasks.sync.name, "every hour")
    assert seeded["symbols.refresh_tier1"][:2] == (tasks.refresh_tier1.name, "every hour")


@pytest.mark.django_db
def test_seeding_schedules_again_keeps_what_an_administrator_changed():
    PeriodicTask.objects.filter(name="symbols.sync").update(enabled=False, expire_seconds=7)
    importlib.import_module("symbols.migrations.0002_beat_schedules").create_schedules(apps, None)
    kept = PeriodicTask.objects.get(name="symbols.sync")
    assert (kept.enabled, kept.expire_seconds) == (False, 7)
    assert PeriodicTask.objects.filter(name="symbols.sync").count() == 1
