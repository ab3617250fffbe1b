"""The same verbs by `manage.py`, the admin and the API: a real host and a real worker, recorded alike."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from celery.contrib.testing.worker import start_worker
from django.core.management import CommandError, call_command, get_commands
from django.test import Client
from django.urls import reverse

import candles.errands  # noqa: F401 - a worker imports it by the settings
import symbols.errands  # noqa: F401
from exchanges import control, seeds
from exchanges.admin import ExchangeAdmin
from exchanges.control import Status, Verb
from exchanges.models import Exchange
from exchanges.simulation.stage import Options
from livermore.celery import app
from livermore.core import keys
from livermore.core.errors import InvalidInput
from livermore.orders import order
from symbols.models import ExchangeSymbol
from tests.exchanges.test_host import World, plan, world  # noqa: F401 - a fixture
from tests.support import builders
from tests.support.simulation import simulated
from tests.support.waiting import until

AT, NAME = "coinbase", "BTC-USD"
IN_TURN = ("start", "pause", "resume", "reload", "roll", "backfill", "reconcile", "refresh", "stop")
NAMED_OTHERWISE = {"backfill": ("backfill", AT, NAME), "reconcile": ("reconcile", AT, NAME)}


def by_command_line(verb: str) -> None:
    call_command(*NAMED_OTHERWISE.get(verb, (f"{verb}_exchange", AT)), "--key", f"k-{verb}", stdout=io.StringIO())


def by_admin(client: Client) -> Callable[[str], None]:
    address = reverse("admin:exchanges_exchange_changelist")

    def act(verb: str) -> None:
        client.post(address, {"action": verb, "_selected_action": [AT], "order_key": f"p-{verb}"})

    return act


def by_api(client: Client) -> Callable[[str], None]:
    def post(verb: str) -> None:
        symbol = {"symbol": NAME} if Verb(verb).takes_symbols else {}
        body = {"verb": verb, "idempotency_key": f"a-{verb}", "wait_s": 60, **symbol}
        answer = client.post(f"/api/v1/exchanges/{AT}/commands", body, content_type="application/json")
        assert answer.status_code == 202, answer.content

    return post


def newest(state: redis.Redis) -> tuple[str, dict[str, str]]:
    """The last command sent, with its fields."""
    [(_, entry)] = state.xrevrange(keys.control(AT), count=1)
    command_id = entry[b"id"].decode()
    return command_id, {k.decode(): v.decode() for k, v in state.hgetall(keys.command(command_id)).items()}


@pytest.fixture
def market(redis_state: redis.Redis, settings: Any) -> Iterator[None]:
    """A simulated venue with some history, its row, and one symbol that is streamed."""
    seeds.create_missing(Exchange)
    with simulated(AT, is_paused=True, has_episodes=False, options=Options(weight_limit=1_000_000)) as running:
        settings.EXCHANGE_ENDPOINTS = running.endpoints
        Exchange.objects.filter(pk=AT).update(rest_weight=1_000_000, tier1_size=1, timeframes=["5m", "1h"])
        builders.symbol(Exchange.objects.get(pk=AT), NAME, native=NAME, tier=1, rank=1)
        yield


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("market")
def test_each_verb_is_the_same_command_on_every_surface(
    world: World,  # noqa: F811
    admin_client: Client,
    redis_state: redis.Redis,
) -> None:
    world.plans = {AT: plan(AT)}
    world.universe = {AT: {NAME: NAME}}
    world.launch()
    surfaces = {"cli:": by_command_line, "admin": by_admin(admin_client), "admin ": by_api(admin_client)}
    seen: dict[str, set[str]] = {}
    with start_worker(app, pool="solo", perform_ping_check=False, loglevel="ERROR", queues=[f"backfill.{AT}"]):
        for asker, tell in surfaces.items():
            for verb in IN_TURN:
                before = redis_state.xlen(keys.control(AT))
                tell(verb)
                assert redis_state.xlen(keys.control(AT)) == before + 1
                command_id, _ = newest(redis_state)
                ended = until(lambda i=command_id: (r := control.result(i)).status.is_final and r)
                _, told = newest(redis_state)
                assert (ended.status, ended.code) == (Status.DONE, "ok"), (asker, verb, ended)
                assert told["verb"] == verb
                assert told["issued_by"].startswith(asker.strip())
                assert told["idempotency_key"].endswith(f"-{verb}")
                assert int(told["issued_ms"]) <= int(told["acked_ms"]) <= int(told["ended_ms"])
                assert int(told["issued_ms"]) < int(told["deadline_ms"])
                assert told["host"].startswith(("task ", "process ") if Verb(verb).is_errand else "h1")
                if asker == "admin":
                    tell(verb)  # a double click
                assert newest(redis_state)[0] == command_id
                seen.setdefault(verb, set()).add(command_id)
    assert {verb: len(ids) for verb, ids in seen.items()} == dict.fromkeys(Verb, len(surfaces))
    listed = admin_client.get(f"/api/v1/exchanges/{AT}/commands?limit=200").json()["commands"]
    assert [c["verb"] for c in listed] == [*reversed(IN_TURN)] * 3
    assert ExchangeSymbol.objects.filter(exchange_id=AT, tier=1).exists()


def test_no_surface_knows_another_set_of_verbs() -> None:
    verbs = {str(verb) for verb in Verb}
    assert verbs == set(IN_TURN)
    commands = get_commands()
    assert all(f"{verb}_exchange" in commands or verb in commands for verb in verbs)
    assert verbs <= {getattr(action, "__name__", action) for action in ExchangeAdmin.actions}


@pytest.mark.django_db
def test_the_api_documents_the_verbs(admin_client: Client) -> None:
    schema = admin_client.get("/api/v1/openapi.json").json()
    assert schema["components"]["schemas"]["Order"]["properties"]["verb"]["enum"] == [str(verb) for verb in Verb]


@pytest.mark.django_db
@pytest.mark.usefixtures("redis_state")
class TestRefusals:
    """What a verb does not take is said before anything is sent."""

    @pytest.fixture(autouse=True)
    def _known(self) -> None:
        builders.symbol(Exchange.objects.get(pk=AT), NAME, native=NAME, tier=1)

    @pytest.mark.parametrize(
        ("verb", "options", "said"),
        [
            (Verb.START, {"symbol": NAME}, "start takes no symbol; these do: backfill reconcile"),
            (Verb.REFRESH, {"target": "h1"}, "refresh is carried out by workers and takes no target"),
            (Verb.BACKFILL, {"symbol": "BTC-USDD"}, "coinbase has no symbol 'BTC-USDD'; accepted: BASE-QUOTE or all"),
        ],
    )
    def test_by_the_api(self, admin_client: Client, verb: Verb, options: Any, said: str, redis_state: Any) -> None:
        body = {"verb": str(verb), **options}
        answer = admin_client.post(f"/api/v1/exchanges/{AT}/commands", body, content_type="application/json")
        assert answer.status_code == 422
        assert answer.json()["error"]["message"].startswith(said)
        assert not redis_state.exists(keys.control(AT))

    def test_an_unknown_verb_names_all(self, admin_client: Client) -> None:
        answer = admin_client.post(
            f"/api/v1/exchanges/{AT}/commands", {"verb": "launch"}, content_type="application/json"
        )
        assert answer.json()["error"]["message"].endswith(f"accepted: {' '.join(Verb)}")

    def test_a_key_is_for_one_command(self) -> None:
        order(AT, Verb.BACKFILL, issued_by="test", wait_s=30, idempotency_key="k", symbol=NAME)
        with pytest.raises(InvalidInput, match="'k' was used for backfill of BTC-USD; take another"):
            order(AT, Verb.BACKFILL, issued_by="test", wait_s=30, idempotency_key="k")

    def test_an_errand_by_hand_is_not_done_twice_under_one_key(self, settings: Any) -> None:
        settings.EXCHANGE_ENDPOINTS = {AT: {"rest": "http://127.0.0.1:9", "ws": "ws://127.0.0.1:9"}}
        hand = ("reconcile", AT, NAME, "--key", "k")
        call_command(*hand, stdout=io.StringIO())
        with pytest.raises(CommandError, match=r"'k' was sent before as command .*, which is done") as again:
            call_command(*hand)
        assert again.value.returncode == 0

    def test_an_errand_that_fails_by_hand_ends_as_failed(self, settings: Any, redis_state: redis.Redis) -> None:
        settings.LIVERMORE_REGION = "US"
        builders.symbol(Exchange.objects.get(pk="binance"), "BTC-USDT", tier=1)
        with pytest.raises(CommandError) as refused:
            call_command("backfill", "binance", "BTC-USDT", stdout=io.StringIO())
        assert refused.value.returncode == 3
        [(_, entry)] = redis_state.xrange(keys.control("binance"))
        ended = control.result(entry[b"id"].decode())
        assert (ended.status, ended.code) == (Status.FAILED, "geo")
